"""SCAFFOLD.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, ICML
2020, algorithm 1: every local gradient is corrected by c - c_k, the server's control variate minus the client's.

Differences: the client's new variate is the mean of its uncorrected gradients over the round's steps. Under plain SGD
this is the paper's option II, c_k - c + (x - y) / (K lr), to rounding; with momentum, weight decay or Adam that
quotient is no gradient and the mean still is. The server weighs weights by images, as FedAvg does, and variates evenly.
"""

from __future__ import annotations

import numpy as np
import torch

from fedmetric.arrays import Arrays, check_same
from fedmetric.federation.base import FederationRule, LocalRound, State, Total
from fedmetric.registry import rules


@rules.register("scaffold")
class Scaffold(FederationRule):
    """Correct every local gradient by the difference between all clients' mean gradient and the client's own."""

    remembers = True
    may_forget = False  # the server's variate is the mean of the clients', which it never sees again
    shares = "weights, and the change of a control variate as large as they are"
    sends_extra = True

    def broadcast(self, state: State) -> Arrays:
        """Send the server's variate; none before the first round, when it is 0."""
        return {name: value.astype(np.float32) for name, value in state.items()}

    def correct(self, now: LocalRound) -> None:
        """Remember the gradients, then shift them; see `FederationRule.correct`."""
        if "sums" not in now.scratch:
            now.scratch["sums"] = {name: torch.zeros_like(now.parameters[name]) for name in self._controlled(now)}
            now.scratch["shift"] = {
                name: torch.from_numpy(now.extra[name] - now.memory.get(name, np.float32(0))).to(value.device)
                for name, value in now.scratch["sums"].items()
                if name in now.extra
            }
        for name, total in now.scratch["sums"].items():
            gradient = now.parameters[name].grad
            if gradient is not None:
                total.add_(gradient)
                if name in now.scratch["shift"]:
                    gradient.add_(now.scratch["shift"][name])

    def _controlled(self, now: LocalRound) -> list[str]:
        return [name for name in now.parameters if name in now.received]

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Upload the weights and the change of the variate; see `FederationRule.send`."""
        changes: Arrays = {}
        for name, total in now.scratch["sums"].items():
            new = (total / now.steps).cpu().numpy().copy()
            changes[name] = new - now.memory.get(name, np.float32(0))
            now.memory[name] = new
        return after, changes

    def check_extra(self, extra: Arrays, shared: Arrays) -> None:
        """Want one change for every shared parameter; see `FederationRule.check_extra`."""
        wanted = {name: array for name, array in shared.items() if name in self.layout.parameters}
        check_same(extra, wanted, "the control variates")

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Average the weights, and move the variate by |S| / N of the mean change; see `FederationRule.finish`."""
        share = total.extra.weight / self.context.num_clients
        moved = {name: state.get(name, 0.0) + share * change for name, change in total.extra.mean().items()}
        return {**state, **moved}, total.weights.result(shared)
