"""Both halves of a federated algorithm in one class: what a client does around its local steps, and what the server
makes of it.

No Flower and no input or output in here: arrays go in and come out, so that an algorithm reads like its paper.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from torch import Generator, Tensor, nn

from fedmetric.arrays import Arrays, check_same
from fedmetric.federation.average import WeightedMean
from fedmetric.layout import Layout
from fedmetric.objectives.base import Batch

State = Arrays
Memory = Arrays


@dataclass(frozen=True)
class Update:
    """What one client sends back.

    Attributes:
        client: index of the data partition.
        arrays: the shared state after local training, by name.
        num_examples: images actually trained on in the round, epochs counted: at least 1.
        extra: whatever else the rule uploads, by name.
        metrics: floats for the run's log, such as "loss".
    """

    client: int
    arrays: Arrays
    num_examples: int
    extra: Arrays = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RuleContext:
    """What every rule is told about the federation.

    Attributes:
        layout: what every tensor of the network is.
        num_clients: clients in the federation, of which a round may draw some.
        pooled: running means whose variances are pooled over clients; see `WeightedMean`.
        row: (M, D), shape of what the objective has for each class; () where it has nothing, or it is not known.
    """

    layout: Layout
    num_clients: int = 1
    pooled: Mapping[str, str] = field(default_factory=dict)
    row: tuple[int, ...] = ()


class Network(Protocol):
    """The network in training, as a rule may use it."""

    backbone: nn.Module

    @property
    def objective(self) -> Any:
        """The objective, an `Objective`."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Embed (B, C, H, W) images in eval mode: (B, D) float, unit norm, without gradients."""
        ...


@dataclass
class LocalRound:
    """One client's round as its rule sees it; it ends with the round.

    Attributes:
        network: the network in training.
        memory: the rule's own state at this client: persists over rounds, changed in place; what leaves is what
            `send` returns.
        extra: the rule's broadcast, and what it sends to this client alone.
        received: the server's weights on the device of the network, by name.
        parameters: trainable parameters by name.
        lr: learning rate of the round.
        steps: steps done so far.
        num_steps: steps of the whole round.
        examples: images that the objective has learnt from so far.
        batch: of the current step.
        inputs: what went into the backbone for the current batch, (B, C, H, W) each.
        representations: what the backbone gave for the current batch, (B, ...) each, with gradients.
        scratch: for the rule's own use; empty at the start of the round.
        public: (N, C, H, W) float, the images that everybody has; None under rules that need none.
        client: index of the data partition.
        round: server round from 1.
        classes: names of the client's classes; label i stands for the i-th.
    """

    network: Network
    memory: Memory
    extra: Arrays = field(default_factory=dict)
    received: Mapping[str, Tensor] = field(default_factory=dict)
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    lr: float = 0.0
    steps: int = 0
    num_steps: int = 0
    examples: int = 0
    batch: Batch | None = None
    inputs: tuple[Tensor, ...] = ()
    representations: tuple[Tensor, ...] = ()
    scratch: dict[str, Any] = field(default_factory=dict)
    public: Tensor | None = None
    client: int = 0
    round: int = 0
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workshop:
    """What a server needs to train a network itself, on public images.

    Attributes:
        network: the server's, with `load(arrays, names)` and `arrays(names)`; its weights are replaced.
        images: (N, C, H, W) float in [0, 1], public and without labels.
        generator: draws every random choice of the round.
    """

    network: Any
    images: Tensor
    generator: Generator


class Total:
    """What a round's updates have added up to so far.

    Attributes:
        shared: the weights that the round started from.
        weights: the mean of the uploaded weights.
        extra: the plain mean of what else was uploaded.
        collected: uploads that a rule wants to see one by one, by client.
    """

    def __init__(self, shared: Arrays, pooled: Mapping[str, str]) -> None:
        self.shared = shared
        self.weights = WeightedMean(pooled)
        self.extra = WeightedMean()
        self.collected: dict[int, Arrays] = {}


class FederationRule:
    """A federated algorithm; the base class is the plain weighted mean.

    Subclasses take a `RuleContext`, then keyword-only options. `memory` is a client's own state: it persists over
    rounds at the client, and the client's half changes it in place; only what `send` returns leaves. `state` is the
    server's: a new one is returned, the old is left alone. Class attributes are literals; see `Objective`.

    Attributes:
        requires: groups that the objective must have, such as "predictor".
        needs_public: whether everybody must have public images; see `FederationRule.distil`.
        remembers: whether a client's memory decides later rounds, so that a run cannot go on without it.
        may_forget: whether a client's memory may be dropped (`federation.max_staleness`) without harm to the server's.
        own_encoders: whether the option `encoders` gives clients networks of their own.
        personal: whether the clients' own networks are what is evaluated, one by one, and not the server's.
        shares: what leaves a client, in words.
        sends_extra: whether that is more than weights of the network, so that a site must allow the rule by name.
    """

    requires: ClassVar[tuple[str, ...]] = ()
    needs_public: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    may_forget: ClassVar[bool] = True
    own_encoders: ClassVar[bool] = False
    personal: ClassVar[bool] = False
    shares: ClassVar[str] = "weights"
    sends_extra: ClassVar[bool] = False

    def __init__(self, context: RuleContext) -> None:
        self.context = context

    @property
    def layout(self) -> Layout:
        """What every tensor of the network is."""
        return self.context.layout

    # what travels

    def local(self) -> Collection[str]:
        """List tensors that stay at the client altogether, beside the objective's private groups."""
        return ()

    def kept(self) -> Collection[str]:
        """List tensors that are sent to the server, for its evaluation, but never taken from it."""
        return ()

    def held(self) -> Collection[str] | None:
        """List the tensors that the server holds where they are not those that clients upload, else None."""
        return None

    # the client's half

    def receive(self, shared: Arrays, extra: Arrays, memory: Memory) -> Arrays:
        """Return the weights that local training starts from, given the server's weights and broadcast."""
        return shared

    def start(self, now: LocalRound) -> None:
        """Change the network before its first step of the round, such as rows that the server sent to this client."""

    def penalty(self, now: LocalRound) -> Tensor | None:
        """Return a scalar that is added to the loss of the current step, or None."""
        return None

    def correct(self, now: LocalRound) -> None:
        """Change the gradients of `now.parameters` in place after every backward pass."""

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Return the arrays and the extra arrays to upload, given the shared state before and after local training."""
        return after, {}

    # the server's half

    def init(self, shared: Arrays) -> State:
        """Return the server's state before the first round."""
        return {}

    def broadcast(self, state: State) -> Arrays:
        """Return what is sent to clients beside the weights."""
        return {}

    def broadcast_to(self, state: State, client: int) -> Arrays:
        """Return what is sent to one client and to no other, beside the broadcast."""
        return {}

    def figures(self, state: State) -> Mapping[str, float]:
        """Return figures of the state for the round's log."""
        return {}

    def weight(self, update: Update) -> float:
        """Return how much an update counts: by default the images it trained on (FedAvg's n_k)."""
        return float(update.num_examples)

    def check_extra(self, extra: Arrays, shared: Arrays) -> None:
        """Refuse an upload beside the weights that is not what `send` makes; by default any.

        Raises:
            ProtocolError: says what is wrong.
        """
        check_same(extra, {}, "what is uploaded beside the weights")

    def begin(self, shared: Arrays, state: State) -> Total:
        """Return an empty total for one round, given the weights and the server's state before it."""
        return Total(shared, self.context.pooled)

    def fold(self, total: Total, update: Update) -> None:
        """Add one update to the round's total; clients come in a fixed order."""
        total.weights.fold(update.arrays, self.weight(update))
        if update.extra:
            total.extra.fold(update.extra, 1.0)

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Return the new state and weights from the round's total."""
        return state, total.weights.result(shared)

    def distil(self, shared: Arrays, total: Total, workshop: Workshop) -> Arrays:
        """Return weights that the server has trained on public images after `finish`; by default those it was given."""
        return shared

    def aggregate(self, state: State, shared: Arrays, updates: Iterable[Update]) -> tuple[State, Arrays]:
        """Begin, fold and finish in one go."""
        total = self.begin(shared, state)
        for update in updates:
            self.fold(total, update)
        return self.finish(state, shared, total)
