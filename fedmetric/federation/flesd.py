"""FLESD: similarity distillation on public images, for clients whose encoders differ.

Shi, Zhang, Jin, Zheng, Gu, Xie, Federated Self-supervised Contrastive Learning via Ensemble Similarity Distillation,
arXiv:2109.14611, 2021: no weights travel. Clients upload how similar their embeddings of the public images are to one
another; the server sharpens and averages the matrices, and trains an encoder of its own whose similarities follow.

Differences: the server distils within batches of public images, without a momentum encoder or a queue; matrices are
not quantised; nothing is sent back to the clients, whose encoders go on by themselves.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedmetric.arrays import Arrays, check_same
from fedmetric.federation.base import FederationRule, LocalRound, RuleContext, Total, Update, Workshop
from fedmetric.options import Count, Encoders, Positive
from fedmetric.registry import rules

SIMILARITY = "similarity"


@rules.register("flesd")
class FLESD(FederationRule):
    """Distil the clients' similarities of public images into an encoder of the server; no weights are shared."""

    needs_public = True
    own_encoders = True
    shares = "a matrix of similarities between public images; no weights"
    sends_extra = True

    def __init__(
        self, context: RuleContext, *, encoders: Encoders = (), sharpness: Positive = 0.1,
        temperature: Positive = 0.1, steps: Count = 20, batch_size: Count = 128, lr: Positive = 1e-3,
    ) -> None:  # fmt: skip
        """Set the distillation.

        Args:
            context: what the network is.
            encoders: backbones, names or tables; client k has number k modulo their count; by default the server's.
            sharpness: temperature of the clients' similarities before they are averaged; smaller keeps near pairs only.
            temperature: of the server's similarities.
            steps: optimiser steps (Adam) of the server in a round.
            batch_size: public images in a step.
            lr: learning rate of the server.
        """
        super().__init__(context)
        self.sharpness, self.temperature = sharpness, temperature
        self.steps, self.batch_size, self.lr = steps, batch_size, lr

    def local(self) -> Collection[str]:
        """List every tensor; see `FederationRule.local`."""
        return tuple(self.layout.groups)

    def held(self) -> Collection[str]:
        """List the backbone, which the server trains itself; see `FederationRule.held`."""
        return self.layout.of("backbone")

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Upload the similarities of the public images; see `FederationRule.send`."""
        assert now.public is not None
        embeddings = now.network.embed(now.public)
        return after, {SIMILARITY: (embeddings @ embeddings.T).cpu().numpy().astype(np.float32)}

    def check_extra(self, extra: Arrays, shared: Arrays) -> None:
        """Want one square matrix; see `FederationRule.check_extra`."""
        side = max(extra.get(SIMILARITY, np.zeros(1)).shape, default=1)
        check_same(extra, {SIMILARITY: np.zeros((side, side), np.float32)}, "the similarities")

    def fold(self, total: Total, update: Update) -> None:
        """Add the sharpened similarities, each client alike; see `FederationRule.fold`."""
        sharpened = np.exp((update.extra[SIMILARITY].astype(np.float64) - 1.0) / self.sharpness)
        total.extra.fold({SIMILARITY: sharpened}, 1.0)

    def distil(self, shared: Arrays, total: Total, workshop: Workshop) -> Arrays:
        """Train the server's encoder towards the averaged similarities; see `FederationRule.distil`."""
        if not total.extra.weight:
            return shared
        ensemble = torch.from_numpy(total.extra.mean()[SIMILARITY]).to(workshop.images)
        network = workshop.network
        network.load(shared, list(shared))
        network.train()
        optimiser = torch.optim.Adam(network.backbone.parameters(), lr=self.lr)
        size = min(self.batch_size, len(workshop.images))
        for _ in range(self.steps):
            rows = torch.randperm(len(workshop.images), generator=workshop.generator)[:size]
            embeddings = network.backbone(workshop.images[rows]).flatten(1)
            loss = similarity_divergence(embeddings, ensemble[rows][:, rows], self.temperature)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        found: Arrays = network.arrays(list(shared))
        return found


def similarity_divergence(embeddings: Tensor, ensemble: Tensor, temperature: float) -> Tensor:
    """Return the mean KL divergence of the student's shares of similarity from the ensemble's, over the other images.

    Args:
        embeddings: (B, D) float, B >= 2.
        ensemble: (B, B) float, sharpened similarities, above 0.
        temperature: of the student's cosines.
    """
    count = len(embeddings)
    others = ~torch.eye(count, dtype=torch.bool, device=embeddings.device)
    unit = functional.normalize(embeddings.float(), dim=1)
    student = functional.log_softmax((unit @ unit.T / temperature)[others].view(count, count - 1), dim=1)
    wanted = ensemble[others].view(count, count - 1)
    return functional.kl_div(student, wanted / wanted.sum(dim=1, keepdim=True), reduction="batchmean")
