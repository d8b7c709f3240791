"""EncoderMI: an encoder that was trained on an image keeps the image's augmented views closer together.

* H. Liu, J. Jia, W. Qu, N. Z. Gong, "EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive
  Learning", CCS 2021: the threshold variant (EncoderMI-T), whose feature is the mean pairwise cosine of n views.
* L. Watson, C. Guo, G. Cormode, A. Sablayrolles, "On the Importance of Difficulty Calibration in Membership Inference
  Attacks", ICLR 2022: subtract the mean score under encoders that were not trained on the image, s(h) - E[s(g)].

Unit: one image with all its views. Adversary: whoever may query the final encoder.
Differences: no threshold is learnt on a shadow encoder; the scores are handed to `Attack.of`, which reads the AUC and a
TPR. All encoders see the same views, so that the drawing of views cancels out of a calibrated score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.intervals import Attack

Embed = Callable[[Tensor], Tensor]
"""Maps (B, C, H, W) float images to (B, D) float embeddings, in eval mode and without gradients."""

DrawViews = Callable[[Tensor, Generator], Tensor]
"""Draws one view of each of B images, (B, C, H, W) to (B, C, H, W), as `fedmetric.views` do."""

BATCH = 256


def view_similarity(
    embed: Embed, images: Tensor, draw_views: DrawViews, num_views: int, generator: Generator, *, batch: int = BATCH
) -> NDArray[np.float64]:
    """Score each image by how close together the encoder puts its views.

    Args:
        embed: the encoder under attack.
        images: (N, C, H, W) float.
        draw_views: the augmentation of the training, or the attacker's guess of it.
        num_views: n, 2 at least; 10 in the paper.
        generator: CPU generator of the views, used batch by batch.
        batch: images at a time.

    Returns:
        (N,) float64 mean cosine over the n (n - 1) / 2 pairs of views, from -1 / (n - 1) to 1. An embedding of norm 0
        has cosine 0 with all others.

    Raises:
        ConfigError: fewer than two views.
        DataError: an embedding that is not finite.
    """
    return np.asarray(_similarities([embed], images, draw_views, num_views, generator, batch)[0], np.float64)


def calibrated_similarity(
    embed: Embed,
    references: Sequence[Embed],
    images: Tensor,
    draw_views: DrawViews,
    num_views: int,
    generator: Generator,
    *,
    batch: int = BATCH,
) -> NDArray[np.float64]:
    """Score each image by how much closer its views are than under reference encoders on the same views.

    Args:
        embed: the encoder under attack.
        references: shadow encoders, one at least, trained alike on other images. An image that one of them was trained
            on is scored too low; with `embed` itself as the only reference all scores are 0.
        images: (N, C, H, W) float.
        draw_views: see `view_similarity`.
        num_views: see `view_similarity`.
        generator: see `view_similarity`; consumed as there.
        batch: images at a time.

    Returns:
        (N,) float64 in [-2, 2].

    Raises:
        ConfigError: fewer than two views, or no reference.
        DataError: an embedding that is not finite.
    """
    if not references:
        raise ConfigError("a calibrated attack without reference encoders; give one at least, or use view_similarity")
    scores = _similarities([embed, *references], images, draw_views, num_views, generator, batch)
    return np.asarray(scores[0] - scores[1:].mean(axis=0), np.float64)


def controls_work(negative: Attack, positive: Attack) -> bool:
    """Return whether an audit proves anything: its controls came out as they must.

    Args:
        negative: the same attack on an encoder that saw no member, such as a random one; 0.5 must lie in its interval.
        positive: on an encoder that was overfitted on purpose; its whole interval must lie above 0.5.
    """
    return negative.auc_low <= 0.5 <= negative.auc_high and positive.auc_low > 0.5


def mean_pairwise_cosine(views: Tensor) -> Tensor:
    """Return the mean cosine of each image's pairs of views.

    Args:
        views: (V, B, D) float, V >= 2.

    Returns:
        (B,) float64. The squared norm of the sum of unit vectors holds each pair twice and each vector's own norm once.
    """
    unit = torch.nn.functional.normalize(views.double(), dim=2)
    pairs = unit.sum(dim=0).square().sum(dim=1) - unit.square().sum(dim=(0, 2))
    return pairs / (len(views) * (len(views) - 1))


def _similarities(
    embeds: Sequence[Embed], images: Tensor, draw_views: DrawViews, num_views: int, generator: Generator, batch: int
) -> NDArray[np.float64]:
    """Score (N,) images under each of E encoders on the same views, (E, N) float64."""
    if num_views < 2:
        raise ConfigError(f"num_views={num_views}; views are compared in pairs, give 2 or more")
    parts = [np.zeros((len(embeds), 0))]
    with torch.no_grad():
        for start in range(0, len(images), batch):
            some = images[start : start + batch]
            views = [draw_views(some, generator) for _ in range(num_views)]
            scores = [mean_pairwise_cosine(torch.stack([embed(view) for view in views])) for embed in embeds]
            parts.append(torch.stack(scores).cpu().numpy())
    similarities = np.concatenate(parts, axis=1)
    if not np.isfinite(similarities).all():
        raise DataError("the encoder has embeddings that are not finite; its membership cannot be measured")
    return similarities
