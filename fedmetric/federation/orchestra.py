"""Orchestra, the server's half and what a client uploads for it.

Lubana, Tang, Kawsar, Dick, Mathur, Orchestra: Unsupervised Federated Learning via Globally Consistent Clustering, ICML
2022, algorithm 1: clients cluster their own projections into local centroids of equal size, the server clusters all
local centroids into the global ones, again of equal size.

Differences: the first round assigns to random centroids, since no client has sent any yet; clusters start from points
that lie far apart, without a random choice; the server keeps the last local centroids of clients that a round leaves
out.
"""

from __future__ import annotations

import numpy as np

from fedmetric.arrays import Arrays, check_same
from fedmetric.federation.base import FederationRule, LocalRound, RuleContext, State, Total, Update
from fedmetric.federation.clustering import balanced_centroids
from fedmetric.options import Count
from fedmetric.registry import rules

LOCAL = "centroids"


@rules.register("orchestra")
class OrchestraRule(FederationRule):
    """Average the weights, and cluster all clients' local centroids into global ones."""

    requires = ("centroids", "memory")
    shares = "weights, and centroids of the client's own projections"
    sends_extra = True

    def __init__(self, context: RuleContext, *, local_clusters: Count = 16) -> None:
        """Set the clients' clustering.

        Args:
            context: what the network is.
            local_clusters: centroids that each client uploads.
        """
        super().__init__(context)
        self.local_clusters = local_clusters

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Upload the weights and the local centroids; see `FederationRule.send`."""
        rows = now.network.objective.memory.rows().cpu().numpy()
        return after, {LOCAL: balanced_centroids(rows, self.local_clusters).astype(np.float32)}

    def check_extra(self, extra: Arrays, shared: Arrays) -> None:
        """Want the local centroids; see `FederationRule.check_extra`."""
        (place,) = self.layout.of("centroids")
        check_same(extra, {LOCAL: np.zeros((self.local_clusters, shared[place].shape[1]), np.float32)}, "the centroids")

    def fold(self, total: Total, update: Update) -> None:
        """Add the weights, and set the centroids aside; see `FederationRule.fold`."""
        total.weights.fold(update.arrays, self.weight(update))
        total.collected[update.client] = update.extra

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Average the weights and cluster the centroids; see `FederationRule.finish`."""
        new = total.weights.result(shared)
        state = state | {str(client): extra[LOCAL] for client, extra in total.collected.items()}
        if state:
            points = np.concatenate([state[client] for client in sorted(state, key=int)])
            (place,) = self.layout.of("centroids")
            new[place] = balanced_centroids(points, len(shared[place])).astype(shared[place].dtype)
        return state, new
