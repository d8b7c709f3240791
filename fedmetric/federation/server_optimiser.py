"""A server that takes the clients' mean change for a gradient and makes an optimiser's step of it.

Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, Adaptive Federated Optimization, ICLR 2021, algorithm 1.
Only trained parameters move by the optimiser; running statistics and other buffers take the plain mean.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.average import as_types
from fedmetric.federation.base import FederationRule, State, Total


class ServerOptimiser(FederationRule):
    """The part that FedAvgM, FedAdam and FedYogi have in common."""

    @abstractmethod
    def step(self, state: State, delta: Arrays) -> tuple[State, Arrays]:
        """Return the new state and the move of every parameter, given the clients' mean change of it.

        Args:
            state: float64 arrays named "<moment>.<tensor>", or empty before the first round.
            delta: mean of the clients' weights minus the server's, float64, by tensor.
        """

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Move the parameters; see `FederationRule.finish`."""
        if not total.weights.weight:
            return state, total.weights.result(shared)
        mean = total.weights.mean()
        delta = {name: mean[name] - shared[name].astype(np.float64) for name in mean if name in self.layout.parameters}
        state, moves = self.step(state, delta)
        # the mean plus what the optimiser adds to it: a step equal to delta gives the mean bit for bit
        moved = {name: mean[name] + (moves[name] - delta[name]) for name in delta}
        return state, as_types({**mean, **moved}, shared)


def moment(state: Mapping[str, np.ndarray], kind: str, delta: Arrays, initial: float = 0.0) -> Arrays:
    """Read one moment of every tensor from a server's state; `initial` where there is none yet."""
    return {name: state.get(f"{kind}.{name}", np.full_like(value, initial)) for name, value in delta.items()}


def named(kind: str, values: Arrays) -> State:
    """Write one moment of every tensor as state."""
    return {f"{kind}.{name}": value for name, value in values.items()}
