"""Orchestra, the client's half.

Lubana, Tang, Kawsar, Dick, Mathur, Orchestra: Unsupervised Federated Learning via Globally Consistent Clustering, ICML
2022, algorithm 1: the online network assigns one view to the server's centroids as the target network assigns the
other (cross-entropy), and predicts by which quarter turn a view was rotated, so that it does not degenerate.

Differences: the target's assignment is sharpened by its own temperature; every image is turned once, by a quarter that
follows from its place in the batch.
"""

from __future__ import annotations

import torch
from lightly.models.modules import BYOLProjectionHead
from torch import Tensor, nn
from torch.nn import functional

from fedmetric.objectives.base import Batch
from fedmetric.objectives.momentum import MomentumObjective
from fedmetric.options import Count, Fraction, Positive
from fedmetric.registry import objectives


class Centroids(nn.Module):
    """The server's cluster centroids: unit vectors that no client trains."""

    def __init__(self, count: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("vectors", functional.normalize(torch.randn(count, dimension), dim=1))

    def forward(self, projections: Tensor) -> Tensor:
        """Return the cosine of every projection to every centroid: (B, D) to (B, K)."""
        return functional.normalize(projections.float(), dim=1) @ self.get_buffer("vectors").T


class Memory(nn.Module):
    """The target's most recent projections, unit norm, oldest overwritten first."""

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.register_buffer("bank", torch.zeros(size, dimension))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, projections: Tensor) -> None:
        """Store (B, D) projections."""
        bank, place = self.get_buffer("bank"), self.get_buffer("next")
        rows = functional.normalize(projections.float(), dim=1)[-len(bank) :]
        bank[(torch.arange(len(rows), device=bank.device) + place) % len(bank)] = rows
        place.copy_((place + len(rows)) % len(bank))
        filled = self.get_buffer("filled")
        filled.copy_(torch.clamp(filled + len(rows), max=len(bank)))

    def rows(self) -> Tensor:
        """Return what was stored, (N, D), N at most the size."""
        return self.get_buffer("bank")[: int(self.get_buffer("filled"))]


@objectives.register("orchestra")
class Orchestra(MomentumObjective):
    """Assign both views of an image to the same of the server's clusters; tell how a view was turned."""

    groups = ("projector", "turns", "centroids", "memory", "target")
    private = ("memory",)
    target_policy = "aggregate"
    rule = "orchestra"

    def __init__(
        self, embedding_dim: int, *, clusters: Count = 32, memory_size: Count = 256, temperature: Positive = 0.1,
        target_temperature: Positive = 0.05, turn_weight: Fraction = 1.0, momentum: Fraction = 0.99,
        hidden_dim: Count = 256, output_dim: Count = 128,
    ) -> None:  # fmt: skip
        """Build the heads.

        Args:
            embedding_dim: D of the backbone.
            clusters: global centroids.
            memory_size: projections from which a client makes its local centroids.
            temperature: of the online network's assignment.
            target_temperature: of the target's; smaller is sharper.
            turn_weight: of the rotation term.
            momentum: share of the target that stays in every step.
            hidden_dim: width of the projector's hidden layer.
            output_dim: dimension of projections and centroids.
        """
        super().__init__()
        self.momentum, self.temperature, self.target_temperature = momentum, temperature, target_temperature
        self.turn_weight = turn_weight
        self.projector = BYOLProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.turns = nn.Linear(output_dim, 4)
        self.centroids = Centroids(clusters, output_dim)
        self.memory = Memory(memory_size, output_dim)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Add the cluster and the rotation term; see `Objective.forward`."""
        first, second = batch.views
        goal = self.target(first)
        self.memory.add(goal)
        wanted = functional.softmax(self.centroids(goal) / self.target_temperature, dim=1)
        found = self.centroids(self.projector(backbone(second))) / self.temperature
        loss = functional.cross_entropy(found, wanted)
        if self.turn_weight:
            quarters = torch.arange(len(first), device=first.device) % 4
            turned = torch.stack([torch.rot90(image, int(k), (1, 2)) for image, k in zip(first, quarters, strict=True)])
            guess = self.turns(self.projector(backbone(turned)))
            loss = loss + self.turn_weight * functional.cross_entropy(guess.float(), quarters)
        return loss
