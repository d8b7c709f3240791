"""A weighted sum of objectives over one backbone, for clients that hold labels for some of their images.

With parts ("simclr", "supcon") this is the sum of a self-supervised and a supervised contrastive term, as of SimCLR
(Chen et al., ICML 2020, equation 1) and SupCon (Khosla et al., NeurIPS 2020, equation 2); what each part differs in
from its paper is said in its own file. Every part passes the backbone by itself and has heads of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Generator, Tensor, nn

from fedmetric.distances.base import PairDistance
from fedmetric.distances.cosine import Cosine
from fedmetric.objectives.base import Batch, Objective, build_objective
from fedmetric.objectives.labelled import keep_labelled, zero_of
from fedmetric.options import ObjectiveParts, PartWeights, Stages, objective_parts
from fedmetric.registry import objectives


@objectives.register("hybrid")
class Hybrid(Objective):
    """Add up objectives, all at once or in stages: those that need labels see the labelled images only.

    Its attributes follow from its parts, so only an instance has them. Groups are named by part and child, such as
    "simclr.projector". Where the targets of the parts are kept differently, all are "local" by default.
    """

    composite = True

    def __init__(
        self, embedding_dim: int, num_classes: int = 1, *, parts: ObjectiveParts = ("simclr", "supcon"),
        weights: PartWeights = (1.0, 1.0), stages: Stages = (),
    ) -> None:  # fmt: skip
        """Build every part.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, for parts that have something for each class.
            parts: names of objectives, or tables of a name and options.
            weights: one for each part; a part of weight 0 is not computed.
            stages: tables of `rounds` and `weights`, one after the other, in place of `weights`: pretraining, then
                fine-tuning, for example; the last one goes on to the end.
        """
        super().__init__()
        self.num_classes = num_classes
        self.parts: dict[str, Objective] = {}
        for chosen in objective_parts(parts):
            name = chosen.name.rpartition(":")[2]
            self.parts[name] = build_objective(chosen, embedding_dim, num_classes)
            self.add_module(name, self.parts[name])
        self.stages = stages or ({"rounds": 1, "weights": weights},)
        self.begin_round(1)
        members = self.parts.values()
        self.num_views = max(part.num_views for part in members)
        self.needs_labels = any(part.needs_labels for part in members)
        self.needs_classes = any(part.needs_classes for part in members)
        self.decomposable = all(part.decomposable for part in members)
        self.groups = tuple(f"{name}.{group}" for name, part in self.parts.items() for group in part.groups)
        self.private = tuple(f"{name}.{group}" for name, part in self.parts.items() for group in part.private)
        policies = {part.target_policy for part in members} - {""}
        self.target_policy = "local" if len(policies) > 1 else next(iter(policies), "")
        self.min_batch = max(part.min_batch for part in members)

    def group_modules(self) -> dict[str, nn.Module]:
        """Return the children of the parts; see `Objective.group_modules`."""
        parts = self.parts.items()
        return {f"{name}.{group}": module for name, part in parts for group, module in part.group_modules().items()}

    def attach(self, backbone: nn.Module) -> None:
        """Attach every part; see `Objective.attach`."""
        for part in self.parts.values():
            part.attach(backbone)

    def reset_target(self, backbone: nn.Module) -> None:
        """Reset the target of every part; see `Objective.reset_target`."""
        for part in self.parts.values():
            part.reset_target(backbone)

    def meet(self, client: int, backbone: nn.Module, batches: Iterable[Batch], generator: Generator) -> None:
        """Introduce every part, with one pass over the batches between them; see `Objective.meet`."""
        meeting = [part for part in self.parts.values() if part.needs_classes]
        shown = list(batches) if len(meeting) > 1 else batches
        for part in self.parts.values():
            part.meet(client, backbone, shown if part in meeting else (), generator)

    def weigh(self, weights: Tensor) -> None:
        """Let the parts that hold something for each class weigh; see `Objective.weigh`."""
        for part in self.parts.values():
            if part.needs_classes and part.decomposable:
                part.weigh(weights)

    def weights_of(self, round: int) -> dict[str, float]:
        """Return the weights of the stage that a round is in."""
        last = 0
        for stage in self.stages:
            last += stage["rounds"]
            if round <= last:
                break
        return dict(zip(self.parts, stage["weights"], strict=True))

    def class_rounds(self, round: int) -> int:
        """Count the rounds in which a part that has something for each class weighs; see `Objective.class_rounds`."""
        named = [name for name, part in self.parts.items() if part.needs_classes]
        return sum(any(self.weights_of(past)[name] for name in named) for past in range(1, round + 1))

    def begin_round(self, round: int) -> None:
        """Take the weights of the stage that the round is in; see `Objective.begin_round`."""
        self.weights = self.weights_of(round)
        for part in self.parts.values():
            part.begin_round(round)

    def metric(self) -> PairDistance:
        """Return the distance of the first part that has one other than cosine; see `Objective.metric`."""
        found = [part.metric() for part in self.parts.values()]
        return next((distance for distance in found if not isinstance(distance, Cosine)), found[0])

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Add up the weighted losses; too few labelled images for a part count 0; see `Objective.forward`."""
        terms = []
        for name, part in self.parts.items():
            views, labels = keep_labelled(batch) if part.needs_labels else (batch.views, None)
            if self.weights[name] == 0 or len(views[0]) < part.min_batch:
                terms.append(zero_of(backbone, part))
            else:
                terms.append(self.weights[name] * part(backbone, Batch(views[: part.num_views], labels)))
        return sum(terms[1:], terms[0])

    def contributing(self, batch: Batch) -> int:
        """Count the images that any part of a weight above 0 learns from; see `Objective.contributing`."""
        return max(part.contributing(batch) for name, part in self.parts.items() if self.weights[name])

    def after_step(self, backbone: nn.Module, progress: float) -> None:
        """Let every part's target follow; see `Objective.after_step`."""
        for part in self.parts.values():
            part.after_step(backbone, progress)

    def check_client(self, client: int, num_images: int, batch_size: int) -> None:
        """Ask every part that has something to do at the client; see `Objective.check_client`.

        Nothing is asked of the number of classes (`min_classes` is 0): a part that learns nothing leaves the others.
        """
        for part in self.parts.values():
            if self.num_classes or not part.needs_classes:
                part.check_client(client, num_images, batch_size)
