"""The Experiment: everything that decides the result of a run, and nothing about the machine it runs on.

Where the images lie, how many worker processes train and which engine carries the messages are not in here: the same
experiment gives the same weights whatever they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedmetric.config.choice import choice
from fedmetric.config.compatibility import learns_without_labels, misfit, parts_of
from fedmetric.options import Count, Fraction, NonNegative, OpenFraction, Positive, Whole
from fedmetric.registry import (
    Component,
    backbones,
    mechanisms,
    objectives,
    partitioners,
    rules,
    samplers,
    sources,
    views,
)

DEFAULTS = {
    ("data",): "glyphs",
    ("partition",): "natural",
    ("views",): "glyphs",
    ("model",): "conv4",
    ("objective",): "simclr",
    ("federation", "rule"): "fedavg",
    ("local", "sampler"): "shuffled",
    ("privacy",): "none",
}
"""The method of each section that does not name one."""

if TYPE_CHECKING:
    SourceChoice: TypeAlias = Component
    PartitionerChoice: TypeAlias = Component
    ViewsChoice: TypeAlias = Component
    BackboneChoice: TypeAlias = Component
    ObjectiveChoice: TypeAlias = Component
    RuleChoice: TypeAlias = Component
    SamplerChoice: TypeAlias = Component
    MechanismChoice: TypeAlias = Component
else:
    SourceChoice = choice(sources, DEFAULTS[("data",)])
    PartitionerChoice = choice(partitioners, DEFAULTS[("partition",)])
    ViewsChoice = choice(views, DEFAULTS[("views",)])
    BackboneChoice = choice(backbones, DEFAULTS[("model",)])
    ObjectiveChoice = choice(objectives, DEFAULTS[("objective",)])
    RuleChoice = choice(rules, DEFAULTS[("federation", "rule")])
    SamplerChoice = choice(samplers, DEFAULTS[("local", "sampler")])
    MechanismChoice = choice(mechanisms, DEFAULTS[("privacy",)])


TaskName: TypeAlias = Literal["retrieval", "fewshot", "transfer", "verification", "identification", "clustering"]
RerankName: TypeAlias = Literal["none", "alpha-qe", "k-reciprocal"]


class Section(BaseModel):
    """A table of the experiment: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(Section):
    """What the backbone starts from, and which parts of it learn."""

    weights: str = Field(
        "",
        description="safetensors file, or folder of a run or a model, to start the backbone from; '' for none",
    )
    sha256: str = Field("", description="of the file; written into the experiment when a run begins")
    freeze: tuple[str, ...] = Field(
        (), description="children of the backbone that stay as they are, such as 'block1'; '*' for all of them"
    )


class Accept(Section):
    """What the server accepts of a client's reply; a reply beyond a bound is refused, and the reason is logged."""

    examples: Count = Field(
        100_000_000, description="most images that a client may say it trained on in one round, epochs counted"
    )
    norm: NonNegative = Field(0.0, description="furthest that the trained weights may move, L2; 0 for no bound")
    norm_ratio: NonNegative = Field(
        0.0, description="furthest move as a multiple of the median move of earlier rounds; 0 for no bound"
    )
    strikes: Whole = Field(0, description="refused replies after which a client is no longer asked; 0 for never")


class Secure(Section):
    """Secure aggregation: the server learns the sum of the clients' clipped moves, and none of them."""

    on: bool = Field(False, description="whether clients hide their moves from the server")
    clip: Positive = Field(
        1.0,
        description="furthest that a client may move the trained weights, L2, for they are added up in fixed point; "
        "under privacy 'client-level', privacy.clip is",
    )
    threshold: Whole = Field(
        0, description="clients that must answer for a round to count; 0 for more than two thirds of the cohort"
    )


class Federation(Section):
    """How many rounds, which clients take part in each, and how their updates become one model."""

    rule: RuleChoice = Field({}, validate_default=True, description="federation rule: both halves of the algorithm")
    rounds: Whole = Field(10, description="server rounds; 0 evaluates the untrained model")
    clients_per_round: Whole = Field(0, description="cohort size drawn each round; 0 is every client")
    sampling: Literal["uniform", "reshuffled", "poisson"] = Field(
        "uniform",
        description="how cohorts are drawn: each round anew, all clients in turn in a new order each time, or each "
        "client by itself, so that cohorts differ in size",
    )
    norm: Literal["average", "pooled", "local", "recalibrate", "group_norm"] = Field(
        "average", description="what happens to norm layers between rounds; 'fedmetric list norms' explains"
    )
    target: Literal["default", "local", "reset", "aggregate"] = Field(
        "default",
        description="momentum target between rounds: kept at the client, made equal to the received weights, or "
        "shared and averaged; by default as the objective's paper has it",
    )
    max_staleness: Whole = Field(
        0, description="a client that skipped more rounds than this forgets its own state; 0 keeps it for ever"
    )
    max_lost: Fraction = Field(
        0.5, description="a round that loses more than this share of its cohort does not count: the weights stay"
    )
    max_skipped: Whole = Field(0, description="rounds in a row that may fail to count; one more ends the run")
    accept: Accept = Field(Accept(), description=Accept.__doc__)
    secure: Secure = Field(Secure(), description=Secure.__doc__)

    @model_validator(mode="after")
    def _nothing_is_bounded_that_nobody_sees(self) -> Self:
        if self.secure.on and (self.accept.norm or self.accept.norm_ratio):
            raise ValueError(
                "federation.accept.norm and norm_ratio bound the move of each client, which federation.secure hides "
                "from the server; set both to 0: clients clip their moves to federation.secure.clip"
            )
        return self


class Local(Section):
    """What one client does in one round."""

    epochs: Count = Field(1, description="passes over the client's images in one round")
    batch_size: int = Field(64, ge=2, description="images in a batch; a smaller client shrinks its batch and says so")
    sampler: SamplerChoice = Field({}, validate_default=True, description="which images make up a batch")
    optimiser: Literal["adam", "adamw", "sgd"] = Field("adam", description="local optimiser")
    optimiser_state: Literal["reset", "local"] = Field(
        "reset", description="moments of the local optimiser: forgotten after each round, or kept at the client"
    )
    lr: Positive = Field(1e-3, description="learning rate of the first round after warm-up")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="learning rate over server rounds, constant inside one"
    )
    warmup_rounds: Whole = Field(0, description="rounds over which the learning rate rises linearly to lr")
    momentum: Fraction = Field(0.9, description="momentum of sgd; adam keeps its own")
    class_weights: Literal["none", "inverse", "effective"] = Field(
        "none",
        description="weights of a client's classes in losses of single images: none, one over their images, or one "
        "over their effective number",
    )
    proxy_lr: Positive = Field(100.0, description="what the learning rate is multiplied by for proxies")
    proxy_warmup: Whole = Field(
        0, description="first rounds of training with proxies in which they learn alone, and the other weights stay"
    )
    proxy_init: Literal["random", "mean"] = Field(
        "random",
        description="proxies at a client's first participation, or its first in a stage with proxies: random "
        "directions, or its classes' mean embeddings",
    )
    weight_decay: NonNegative = Field(
        0.0, description="decay of weights of two or more dimensions; never of norms and biases"
    )
    embedding_norm: NonNegative = Field(
        0.0, description="weight of the mean squared length of the embeddings, added to any objective's loss"
    )
    spread_out: NonNegative = Field(
        0.0,
        description="weight of how far embeddings of different classes, or images, are from an even spread over the "
        "sphere, added to any objective's loss",
    )


class Evaluation(Section):
    """What the central evaluator measures, on classes nobody trains on."""

    on: Literal["held-out", "validation"] = Field("held-out", description="which classes; tune on validation only")
    every: Whole = Field(5, description="rounds between evaluations; 0 measures only after the last round")
    tasks: tuple[TaskName, ...] = Field(
        ("retrieval", "fewshot", "transfer"), min_length=1, description="what is measured; docs/evaluation.md explains"
    )
    mirror: bool = Field(
        False, description="embed each image as the average of itself and its mirror image, for every encoder alike"
    )
    rerank: RerankName = Field(
        "none", description="also measure retrieval at the end after this re-ranking; the plain figures stay"
    )
    false_accepts: tuple[OpenFraction, ...] = Field(
        (0.01, 0.001), description="false accept rates at which verification counts the true accepts"
    )
    few_shot: tuple[str, ...] = Field(
        ("5w1s", "5w5s", "20w1s", "20w5s"), description="episodes as N-way K-shot, such as '5w1s'"
    )
    episodes: Count = Field(600, description="episodes for each few-shot figure")
    queries: Count = Field(15, description="query images of each class in an episode")
    neighbours: Count = Field(200, description="k of the weighted nearest-neighbour classifier")
    temperature: Positive = Field(0.1, description="temperature of the weighted nearest-neighbour classifier")

    @model_validator(mode="after")
    def _nothing_is_measured_twice(self) -> Self:
        for key, values in (("tasks", self.tasks), ("false_accepts", self.false_accepts)):
            if doubled := [value for place, value in enumerate(values) if value in values[:place]]:
                raise ValueError(f"{key} lists {doubled[0]!r} twice")
        return self

    @model_validator(mode="after")
    def _episodes_are_written_as_ways_and_shots(self) -> Self:
        for text in self.few_shot:
            sizes = re.fullmatch(r"([0-9]+)w([0-9]+)s", text)
            if not sizes or int(sizes[1]) < 2 or int(sizes[2]) < 1:
                raise ValueError(f"few_shot {text!r} is not of the form 5w1s (at least 2 ways, at least 1 shot)")
        return self


class Experiment(Section):
    """One run of fedmetric, from the data to the evaluation."""

    name: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the run folder")
    seed: Whole = Field(1, description="every random choice derives from it")
    image_size: int = Field(28, ge=8, le=512, description="images are resized to this many pixels on each side")
    validation_classes: Fraction = Field(
        0.0, description="share of the training groups kept from every client to tune on, class-disjoint"
    )
    validation_folds: Whole = Field(
        0, description="cross-validation in place of validation_classes: parts into which the training groups are dealt"
    )
    validation_fold: Whole = Field(0, description="the part that is kept from every client to validate on, from 0")
    public_classes: Fraction = Field(
        0.0,
        description="share of the training groups that no client holds and everybody has, without labels; for rules "
        "that need public images",
    )
    labelled_clients: Fraction = Field(
        1.0, description="share of the clients that train with labels; the others' labels are hidden from training"
    )
    audit_share: Fraction = Field(
        0.0,
        description="share of each client's images that an audit may use: for each a coin decides whether it is "
        "trained on",
    )
    checkpoint_every: Whole = Field(10, description="rounds between checkpoints; 0 keeps only the last")
    data: SourceChoice = Field({}, validate_default=True, description="where images and classes come from")
    partition: PartitionerChoice = Field({}, validate_default=True, description="which client holds which image")
    views: ViewsChoice = Field({}, validate_default=True, description="augmentation of whole batches")
    model: BackboneChoice = Field({}, validate_default=True, description="the embedding network")
    start: Start = Field(Start(), description=Start.__doc__)
    objective: ObjectiveChoice = Field({}, validate_default=True, description="what a client minimises")
    federation: Federation = Field(Federation(), description=Federation.__doc__)
    local: Local = Field(Local(), description=Local.__doc__)
    privacy: MechanismChoice = Field({}, validate_default=True, description="what is hidden, and from whom")
    evaluation: Evaluation = Field(Evaluation(), description=Evaluation.__doc__)

    @model_validator(mode="after")
    def _cohorts_are_drawn_as_the_mechanism_needs(self) -> Self:
        needs = mechanisms[self.privacy.name].traits.get("poisson")
        if needs and self.federation.clients_per_round and self.federation.sampling != "poisson":
            raise ValueError(
                f"privacy '{self.privacy.name}' counts on cohorts in which each client is drawn by itself: set "
                "federation.sampling to 'poisson', or federation.clients_per_round to 0 for everybody in every round"
            )
        return self

    @model_validator(mode="after")
    def _privacy_and_secure_aggregation_fit(self) -> Self:
        if not self.federation.secure.on:
            return self
        if self.privacy.name not in ("none", "client-level"):
            raise ValueError(
                f"privacy '{self.privacy.name}' and federation.secure do not go together; set privacy to "
                "'client-level', whose noise the clients then add in shares, or federation.secure.on to false"
            )
        options = self.privacy.options()
        if options.get("quantile"):
            raise ValueError(
                "privacy.quantile adapts the clip norm to a count of the clients' moves, which federation.secure "
                "hides; set it to 0"
            )
        if options.get("canary_clients"):
            raise ValueError(
                "privacy.canary_clients are added by the server, and under federation.secure it adds nothing to the "
                "sum; set it to 0"
            )
        if options.get("population"):
            raise ValueError(
                "privacy.population simulates the noise of more clients, and under federation.secure the clients that "
                "there are add it; set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _validation_needs_classes(self) -> Self:
        if self.evaluation.on == "validation" and self.validation_classes == 0 and self.validation_folds == 0:
            raise ValueError("evaluation.on = 'validation' needs validation_classes above 0, for example 0.2")
        if self.validation_folds and self.validation_classes:
            raise ValueError("validation_folds and validation_classes both keep classes back; set one of them to 0")
        if self.validation_folds == 1 or self.validation_fold >= max(1, self.validation_folds):
            raise ValueError(
                f"validation_fold = {self.validation_fold} of validation_folds = {self.validation_folds}: there must "
                "be two folds or more (0 for none), and the fold is counted from 0"
            )
        return self

    @model_validator(mode="after")
    def _objective_and_rule_fit(self) -> Self:
        problem = misfit(self.objective, self.federation.rule, self.federation.target)
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _class_weights_have_single_images_to_weigh(self) -> Self:
        names = [self.objective.name, *parts_of(self.objective)]
        weighs = any(all(objectives[n].traits.get(t) for t in ("needs_classes", "decomposable")) for n in names)
        if self.local.class_weights != "none" and not weighs:
            able = [n for n, e in objectives.items() if e.traits.get("needs_classes") and e.traits.get("decomposable")]
            raise ValueError(
                f"local.class_weights weigh single images, and objective '{self.objective.name}' compares images with "
                f"one another; use local.sampler, or one of the objectives {', '.join(able)}"
            )
        return self

    @model_validator(mode="after")
    def _clients_without_labels_have_something_to_learn(self) -> Self:
        if self.labelled_clients < 1 and not learns_without_labels(self.objective):
            raise ValueError(
                f"objective '{self.objective.name}' learns from labels only, in some rounds at least, so clients "
                "without labels cannot train: set labelled_clients to 1, or use objective 'hybrid' with a part that "
                "needs no labels and has a weight above 0 in every stage"
            )
        return self

    @model_validator(mode="after")
    def _client_state_may_be_forgotten(self) -> Self:
        if self.federation.max_staleness and not rules[self.federation.rule.name].traits.get("may_forget", True):
            raise ValueError(
                f"federation.rule '{self.federation.rule.name}' needs what clients remember: set "
                "federation.max_staleness to 0"
            )
        return self

    @model_validator(mode="after")
    def _public_images_are_there_when_needed(self) -> Self:
        if rules[self.federation.rule.name].traits.get("needs_public") and self.public_classes == 0:
            raise ValueError(
                f"federation.rule '{self.federation.rule.name}' needs images that everybody has; set public_classes "
                "above 0, for example 0.2"
            )
        return self

    def resolved(self) -> dict[str, Any]:
        """Return every value, defaults included, as plain TOML types; keys without a value are left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """Write the resolved experiment as TOML; reading it back gives an equal experiment."""
        return tomli_w.dumps(self.resolved())

    def fingerprint(self) -> str:
        """Return the sha256 of the resolved experiment, as 64 hex digits.

        Without its name, and without the place of the weights it starts from where their own sha256 is in it.
        """
        content = {key: value for key, value in self.resolved().items() if key != "name"}
        if self.start.sha256:
            content["start"] = content["start"] | {"weights": ""}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
