"""The loss of prototypical networks, with the batch as the episode.

Snell, Swersky, Zemel, Prototypical Networks for Few-shot Learning, NIPS 2017, equation 2: queries choose among the
means of the support images of every class, by a softmax over negative squared distances.

Differences: every other image of a class is support, all classes of the batch take part with as many images as they
have, and a class of one image has its first view as support and its other views as queries. Embeddings and prototypes
have unit norm, as in the evaluation, so the distances are divided by a temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fedmetric.objectives.pairs import PairObjective
from fedmetric.options import DistanceChoice, Positive
from fedmetric.registry import objectives


@objectives.register("prototypes")
class Prototypes(PairObjective):
    """Assign the images of one half of each class to the mean of the other half.

    Not decomposable: prototypes are other images.
    """

    needs_labels = True

    def __init__(
        self, embedding_dim: int, *, temperature: Positive = 0.1, distance: DistanceChoice = "euclidean"
    ) -> None:
        """Set the softmax.

        Args:
            embedding_dim: D of the backbone.
            temperature: what squared distances are divided by.
            distance: of the loss and of the evaluation ('fedmetric list distances'), or a table.
        """
        super().__init__(embedding_dim, distance)
        self.temperature = temperature

    def compare(self, embeddings: Tensor, labels: Tensor, num_views: int = 1) -> Tensor:
        """Classify the queries; 0 where no class has any; see `PairObjective.compare`."""
        classes, own = torch.unique(labels, return_inverse=True)
        support = support_rows(own, num_views)
        if bool(support.all()):
            return (embeddings * 0).sum()
        unit = functional.normalize(embeddings, dim=1)
        totals = unit.new_zeros(len(classes), unit.shape[1]).index_add(0, own[support], unit[support])
        # a prototype's length does not count, so a sum is as good as a mean
        far: Tensor = self.distance(unit[~support], totals)
        return functional.cross_entropy(-far.square() / self.temperature, own[~support])


def support_rows(labels: Tensor, num_views: int) -> Tensor:
    """Divide a batch into support and queries: of every class the first image, the third, and so on are support.

    Args:
        labels: (V x B,) int64, row v B + b is view v of image b.
        num_views: V.

    Returns:
        (V x B,) bool. All views of an image are on the same side, but for the only image of a class, whose first view
        alone is support.
    """
    images = labels[: len(labels) // num_views]
    same = images.unsqueeze(1) == images
    place = same.tril(-1).sum(dim=1)
    alone = same.sum(dim=1) == 1
    first_view = torch.arange(num_views, device=labels.device).repeat_interleave(len(images)) == 0
    return (place % 2 == 0).repeat(num_views) & (first_view | ~alone.repeat(num_views))
