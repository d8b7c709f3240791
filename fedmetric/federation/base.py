"""Both halves of a federated algorithm in one class: what a client does around its local steps, and what the server
makes of it.

No Flower and no input or output in here: arrays go in and come out, so that an algorithm reads like its paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fedmetric.arrays import Arrays
from fedmetric.federation.average import WeightedMean

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


class FederationRule:
    """A federated algorithm; the base class is the plain weighted mean.

    Subclasses take keyword-only options. `memory` is a client's own state: it persists over rounds at the client,
    never leaves, and `receive` and `send` change it in place. `state` is the server's: a new one is returned, the
    old is left alone.
    """

    # the client's half

    def receive(self, shared: Arrays, extra: Arrays, memory: Memory) -> Arrays:
        """Return the weights that local training starts from, given the server's weights and broadcast."""
        return shared

    def correct(self, parameters: Mapping[str, Tensor], start: Mapping[str, Tensor], memory: Memory) -> None:
        """Change the gradients in place after every backward pass.

        Args:
            parameters: trainable parameters by name, with `.grad` filled.
            start: the server's weights of this round, by name.
            memory: the client's own state.
        """

    def send(self, before: Arrays, after: Arrays, memory: Memory, steps: int, lr: float) -> tuple[Arrays, Arrays]:
        """Return the arrays and the extra arrays to upload, given the shared state before and after local training."""
        return after, {}

    # the server's half

    def init(self, shared: Arrays) -> State:
        """Return the server's state before the first round."""
        return {}

    def broadcast(self, state: State) -> Arrays:
        """Return what is sent to clients beside the weights."""
        return {}

    def weight(self, update: Update) -> float:
        """Return how much an update counts: by default the images it trained on (FedAvg's n_k)."""
        return float(update.num_examples)

    def begin(self) -> WeightedMean:
        """Return an empty total for one round."""
        return WeightedMean()

    def fold(self, total: WeightedMean, update: Update) -> None:
        """Add one update to the round's total; clients come in a fixed order."""
        total.fold(update.arrays, self.weight(update))

    def finish(self, state: State, shared: Arrays, total: WeightedMean) -> tuple[State, Arrays]:
        """Return the new state and weights from the round's total."""
        return state, total.result(shared)

    def aggregate(self, state: State, shared: Arrays, updates: Iterable[Update]) -> tuple[State, Arrays]:
        """Begin, fold and finish in one go."""
        total = self.begin()
        for update in updates:
            self.fold(total, update)
        return self.finish(state, shared, total)
