"""What all proxy losses have in common: rows for the client's own classes, which never leave it by themselves.

Movshovitz-Attias, Toshev, Leung, Ioffe, Singh, No Fuss Distance Metric Learning Using Proxies, ICCV 2017: images are
compared with one learnt row or several for each class instead of with one another.

The rows are the weights of pytorch-metric-learning's loss, the group "proxies". They are private: a client that holds
20 classes has 20 rows, and neither their number nor their order tells the others anything. Federation rules that share
rows do so explicitly, through `rows` and `place`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pytorch_metric_learning.reducers import ClassWeightedReducer
from torch import Generator, Tensor, nn
from torch.nn import functional

from fedmetric.objectives.base import Batch, Objective
from fedmetric.objectives.labelled import count_labelled, keep_labelled, zero_of

SPREAD = 0.1


class ProxyObjective(Objective):
    """A loss of pytorch-metric-learning that holds proxies."""

    num_views = 1
    needs_labels = True
    needs_classes = True
    groups = ("proxies",)
    private = ("proxies",)
    min_batch = 1
    min_classes = 2

    def __init__(self, loss: nn.Module, weight: str, num_classes: int, centres: int = 1, columns: bool = False) -> None:
        """Take over a loss.

        Args:
            loss: maps (B, D) embeddings and (B,) labels to a scalar.
            weight: the loss's attribute that holds the proxies.
            num_classes: K.
            centres: proxies of a class, M.
            columns: whether the attribute is (D, K M) and not (K M, D).
        """
        super().__init__()
        self.proxies = loss
        self.num_classes, self.centres = num_classes, centres
        self._weight, self._columns = weight, columns

    @torch.no_grad()
    def rows(self) -> Tensor:
        """Copy the proxies: (K, M, D) float32."""
        weight: Tensor = getattr(self.proxies, self._weight).detach()
        flat = weight.T if self._columns else weight
        return flat.reshape(self.num_classes, self.centres, -1).clone()

    @torch.no_grad()
    def place(self, rows: Tensor) -> None:
        """Replace the proxies by (K, M, D) float rows."""
        weight: Tensor = getattr(self.proxies, self._weight)
        flat = rows.reshape(self.num_classes * self.centres, -1).to(weight)
        weight.copy_(flat.T if self._columns else flat)

    def meet(self, client: int, backbone: nn.Module, batches: Iterable[Batch], generator: Generator) -> None:
        """Draw directions at random; a class that `batches` show gets its mean embedding instead; see `Objective.meet`.

        Where a class has several rows they are spread around the mean, else they could never be told apart.
        """
        rows = functional.normalize(torch.randn(self.rows().shape, generator=generator), dim=-1)
        means = class_means(backbone, batches, self.num_classes)
        if means is not None:
            spread = SPREAD * rows if self.centres > 1 else torch.zeros_like(rows)
            seen = means.norm(dim=1) > 0
            rows[seen] = functional.normalize(means.unsqueeze(1) + spread, dim=-1)[seen]
        self.place(rows)

    def weigh(self, weights: Tensor) -> None:
        """Weigh by class in the mean over images; see `Objective.weigh`."""
        self.proxies.reducer = ClassWeightedReducer(weights)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Embed the labelled images and compare them with the proxies; 0 where there are none."""
        views, labels = keep_labelled(batch)
        if len(labels) == 0:
            return zero_of(backbone, self.proxies)
        embeddings = backbone(torch.cat(views)).flatten(1).float()
        loss: Tensor = self.proxies(embeddings, labels.repeat(len(views)))
        return loss

    def contributing(self, batch: Batch) -> int:
        """Count the labelled images; see `Objective.contributing`."""
        return count_labelled(batch)


@torch.no_grad()
def class_means(backbone: nn.Module, batches: Iterable[Batch], num_classes: int) -> Tensor | None:
    """Average the unit embeddings of every class in eval mode.

    Returns:
        (K, D) float32 on the CPU, unit norm, zero for classes without an image; None without batches.
    """
    modes = [(module, module.training) for module in backbone.modules()]  # frozen layers have another than the rest
    backbone.eval()
    total: Tensor | None = None
    for batch in batches:
        views, labels = keep_labelled(batch)
        if len(labels):
            unit = functional.normalize(backbone(views[0]).flatten(1).float(), dim=1)
            total = unit.new_zeros(num_classes, unit.shape[1]) if total is None else total
            total.index_add_(0, labels, unit)
    for module, mode in modes:
        module.training = mode
    return None if total is None else functional.normalize(total, dim=1).cpu()
