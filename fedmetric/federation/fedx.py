"""FedX.

Han, Park, Wu, Kim, Wu, Xie, Cha, FedX: Unsupervised Federated Learning with Cross Knowledge Distillation, ECCV 2022,
section 3: to the local objective are added, with the server's network frozen, a contrastive term between the local
prediction of one view and the server's projection of the other, and relational terms, the Jensen-Shannon divergence
between the similarities of both views to other images, locally and across the two networks.

Differences: the other images of the relational terms are those of the same batch, each view's own, not of a second
random one; the server's network uses the statistics of the batch; weights are averaged by images, as FedAvg does.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmetric.federation.base import FederationRule, LocalRound, RuleContext
from fedmetric.options import NonNegative, Positive
from fedmetric.registry import rules


@rules.register("fedx")
class FedX(FederationRule):
    """Distil the server's frozen network into local training: contrast with it, and agree with its relations."""

    requires = ("projector", "predictor")

    def __init__(self, context: RuleContext, *, weight: NonNegative = 1.0, temperature: Positive = 0.1) -> None:
        """Set the added terms.

        Args:
            context: what the network is.
            weight: of the added terms; 0 is FedAvg.
            temperature: of all similarities.
        """
        super().__init__(context)
        self.strength, self.temperature = weight, temperature

    def penalty(self, now: LocalRound) -> Tensor | None:
        """Return the weighted sum of the added terms; see `FederationRule.penalty`."""
        if not self.strength:
            return None
        assert now.batch is not None
        objective = now.network.objective
        if "server" not in now.scratch:  # the first step: the network still has the received weights
            now.scratch["server"] = copy.deepcopy(nn.Sequential(now.network.backbone, objective.projector))
        pairs = torch.cat(now.batch.views[:2])
        local = objective.projector(torch.cat(now.representations)[: len(pairs)])
        predicted = objective.predictor(local)
        with torch.no_grad():
            server = now.scratch["server"](pairs)
        first, second = local.chunk(2)
        predicted_first, predicted_second = predicted.chunk(2)
        server_first, server_second = server.chunk(2)
        terms = relational(first, second, self.temperature)
        for ours, theirs in ((predicted_first, server_second), (predicted_second, server_first)):
            terms = (
                terms + contrast(ours, theirs, self.temperature) / 2 + relational(ours, theirs, self.temperature) / 2
            )
        return self.strength * terms


def contrast(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent of both sets as one batch: row i of one belongs to row i of the other.

    Args:
        first: (B, D) float.
        second: (B, D) float.
        temperature: of the cosines.
    """
    rows = functional.normalize(torch.cat([first, second]).float(), dim=1)
    logits = (rows @ rows.T / temperature).fill_diagonal_(float("-inf"))
    partner = torch.arange(len(rows), device=rows.device).roll(len(first))
    return functional.cross_entropy(logits, partner)


def relational(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the mean Jensen-Shannon divergence between two views' similarities to the other images of the batch.

    Args:
        first: (B, D) float; B < 3 leaves at most one other image, whose share is 1 in both: the result is 0.
        second: (B, D) float.
        temperature: of the cosines.
    """
    count = len(first)
    if count < 3:
        return first.float().sum() * 0
    others = ~torch.eye(count, dtype=torch.bool, device=first.device)
    shares = []
    for view in (first, second):
        unit = functional.normalize(view.float(), dim=1)
        shares.append(functional.log_softmax((unit @ unit.T / temperature)[others].view(count, count - 1), dim=1))
    middle = torch.logsumexp(torch.stack(shares), dim=0) - torch.log(torch.tensor(2.0))
    divergences = [functional.kl_div(middle, share, log_target=True, reduction="batchmean") for share in shares]
    return (divergences[0] + divergences[1]) / 2
