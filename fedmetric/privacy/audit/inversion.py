"""Inversion: what an update, or an embedding, gives away of the image behind it.

* J. Geiping, H. Bauermeister, H. Droege, M. Moeller, "Inverting Gradients - How easy is it to break privacy in
  federated learning?", NeurIPS 2020, equation 4: find the image whose update points the same way as the observed one,

      min over x in [0, 1] of  1 - <u(x), u*> / (||u(x)|| ||u*||) + a TV(x),

  by Adam on the sign of the gradient, the rate divided by ten at 3/8, 5/8 and 7/8 of the steps.
* A. Mahendran, A. Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015: inversion of an
  embedding. Difference: a linear map fitted to public images (ridge regression), which is exact where the encoder is
  linear and needs no gradient of the encoder; a decoder network may find more.

Both are scored by identification and not by looks: is the reconstruction nearer to the true image than to every other
image of a gallery? Unit: one image. Adversary: the server for updates; whoever holds an embedding for embeddings.
Differences in the update inversion: hundreds of steps instead of thousands, one start, and the best image of all steps
is returned. An inversion that fails here is therefore no proof that none succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.intervals import CONFIDENCE, clopper_pearson

UpdateOf = Callable[[Tensor], Sequence[Tensor]]
"""Maps (B, C, H, W) images to the update that a client would send for them, tensor by tensor, differentiably: the
gradients that it is made of come from `torch.autograd.grad(..., create_graph=True)`."""

DECAYS = (3 / 8, 5 / 8, 7 / 8)


@dataclass(frozen=True)
class Identification:
    """How often a reconstruction is nearest to the image that it is of.

    Attributes:
        rate: share of the reconstructions that are strictly nearer to the true image than to all others.
        low: lower end of its Clopper-Pearson interval.
        high: upper end.
        chance: 1 / G, the rate of a guess.
        ceiling: the `low` of a perfect attack on as many images.
        num_queries: N reconstructions.
        num_gallery: G images.
    """

    rate: float
    low: float
    high: float
    chance: float
    ceiling: float
    num_queries: int
    num_gallery: int


def identification_rate(
    reconstructions: Tensor,
    gallery: Tensor,
    truth: NDArray[np.int64],
    distance: Literal["euclidean", "cosine"] = "euclidean",
    confidence: float = CONFIDENCE,
) -> Identification:
    """Search each reconstruction's nearest gallery image.

    Args:
        reconstructions: (N, ...) float, N >= 1: pixels, or embeddings of the reconstructed images.
        gallery: (G, ...) float of the same shape, G >= 2.
        truth: (N,) int64 gallery index of each reconstruction's image.
        distance: "euclidean" for pixels; "cosine" for embeddings, where a vector of norm 0 stays the origin.
        confidence: of the interval.

    Returns:
        Ties count against the attack: one constant reconstruction for all identifies one image at most, and an image
        with a copy in the gallery none.

    Raises:
        DataError: nothing to search, shapes that differ, an index outside the gallery, or values that are not finite.
        ConfigError: an unknown distance.
    """
    if distance not in ("euclidean", "cosine"):
        raise ConfigError(f"distance '{distance}'; give 'euclidean' or 'cosine'")
    asked, known = reconstructions.detach().double().flatten(1), gallery.detach().double().flatten(1)
    if len(asked) < 1 or len(known) < 2 or reconstructions.shape[1:] != gallery.shape[1:] or len(truth) != len(asked):
        raise DataError(
            f"{tuple(reconstructions.shape)} reconstructions, {tuple(gallery.shape)} gallery and {len(truth)} indices; "
            "give one index a reconstruction, two gallery images or more, and one shape"
        )
    if truth.min() < 0 or truth.max() >= len(known):
        raise DataError(f"indices {truth.min()} to {truth.max()} but the gallery has {len(known)} images")
    if not (asked.isfinite().all() and known.isfinite().all()):
        raise DataError("a reconstruction or a gallery image is not finite")
    if distance == "cosine":  # the nearest unit vector is the one of the largest cosine
        asked, known = (torch.nn.functional.normalize(rows, dim=1) for rows in (asked, known))
    # without the matrix product: copies in the gallery must tie exactly
    distances = torch.cdist(asked, known, compute_mode="donot_use_mm_for_euclid_dist")
    own = distances.gather(1, torch.from_numpy(truth).to(distances.device)[:, None])
    found = int(((distances <= own).sum(dim=1) == 1).sum())
    low, high = clopper_pearson(found, len(asked), confidence)
    perfect = clopper_pearson(len(asked), len(asked), confidence).low
    return Identification(found / len(asked), low, high, 1 / len(known), perfect, len(asked), len(known))


def fit_inverter(embeddings: Tensor, pixels: Tensor, penalty: float) -> Callable[[Tensor], Tensor]:
    """Fit a linear map from embeddings to images: ridge regression with a free intercept.

    Args:
        embeddings: (M, D) float of M >= 1 public images.
        pixels: (M, ...) float, those images.
        penalty: weight of the squared coefficients against the sum of squared errors, above 0. Towards 0 it is least
            squares; without end it reconstructs the mean image, which identifies nothing.

    Returns:
        A function from (B, D) embeddings to (B, ...) float64 images, not clipped to [0, 1].

    Raises:
        ConfigError: a penalty that is not above 0.
        DataError: no image, or a different number of embeddings and images.
    """
    if not penalty > 0:
        raise ConfigError(f"penalty={penalty:g}; give a number above 0, so that the map is unique")
    if embeddings.ndim != 2 or not len(embeddings) or len(embeddings) != len(pixels):
        raise DataError(
            f"{tuple(embeddings.shape)} embeddings of {tuple(pixels.shape)} images; give one a row for each"
        )
    shape, features, targets = pixels.shape[1:], embeddings.detach().double(), pixels.detach().double().flatten(1)
    centre, mean = features.mean(dim=0), targets.mean(dim=0)
    features = features - centre
    gram = features.T @ features
    gram.diagonal().add_(penalty)
    weights: Tensor = torch.linalg.solve(gram, features.T @ (targets - mean))

    def invert(asked: Tensor) -> Tensor:
        return ((asked.detach().double() - centre) @ weights + mean).reshape(len(asked), *shape)

    return invert


def invert_update(
    update_of: UpdateOf,
    observed: Sequence[Tensor],
    shape: tuple[int, int, int, int],
    generator: Generator,
    *,
    steps: int = 300,
    learning_rate: float = 0.1,
    smoothness: float = 1e-4,
) -> Tensor:
    """Search the image whose update points the same way as the observed one.

    Args:
        update_of: what the attacker knows of the client: model, loss and optimiser, as one differentiable function.
        observed: the update that was seen, as `update_of` returns one; its length does not matter.
        shape: of the images to find, (B, C, H, W); B = 1 for an update of a single image.
        generator: CPU generator of the start, uniform in [0, 1]; equal states give equal images.
        steps: of Adam.
        learning_rate: of Adam on signs: the change of each pixel in an early step.
        smoothness: a, the weight of the total variation; 0 for none, large for a grey image.

    Returns:
        `shape` float in [0, 1], on the device of the update: of all steps the image of lowest cost.

    Raises:
        ConfigError: fewer than one step.
        DataError: an observed update that is all 0 or not finite, or whose tensors are not those of `update_of`.
    """
    if steps < 1:
        raise ConfigError(f"steps={steps}; give 1 or more")
    seen = [tensor.detach() for tensor in observed]
    norm = torch.stack([tensor.square().sum() for tensor in seen]).sum().sqrt() if seen else torch.zeros(())
    if not (norm.isfinite() and norm > 0):
        raise DataError("the observed update is all 0 or not finite: it has no direction to match")
    image = torch.rand(shape, generator=generator).to(norm.device).requires_grad_()
    optimiser = torch.optim.Adam([image], lr=learning_rate)
    milestones = [round(share * steps) for share in DECAYS]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    best, lowest = image.detach().clone(), float("inf")
    for _ in range(steps):
        cost = direction_cost(update_of(image), seen) + smoothness * total_variation(image)
        if float(cost.detach()) < lowest:
            best, lowest = image.detach().clone(), float(cost.detach())
        (slope,) = torch.autograd.grad(cost, image)
        image.grad = slope.sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return best


def direction_cost(update: Sequence[Tensor], observed: Sequence[Tensor]) -> Tensor:
    """Return 1 minus the cosine of two updates, each taken as one vector: 0 for the same direction, 2 for opposite.

    Args:
        update: tensors of any shapes; a zero update has cost 1.
        observed: tensors of the same shapes.

    Raises:
        DataError: updates that differ in number or shapes.
    """
    if [tensor.shape for tensor in update] != [tensor.shape for tensor in observed]:
        raise DataError(
            "the update of the reconstruction has other tensors than the observed one; compare their shapes"
        )
    product = torch.stack([(one * other).sum() for one, other in zip(update, observed, strict=True)]).sum()
    squares = [torch.stack([tensor.square().sum() for tensor in some]).sum() for some in (update, observed)]
    tiny = torch.finfo(product.dtype).tiny  # the root of 0 has no slope
    return 1 - product / (squares[0].clamp_min(tiny).sqrt() * squares[1].clamp_min(tiny).sqrt())


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of vertical neighbours plus that of horizontal ones, () float.

    Args:
        images: (B, C, H, W) float, H and W at least 2.
    """
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()
