"""The batch views agree in distribution with torchvision's and lightly's transforms of single images.

Summary statistics of many views are compared by two-sample Kolmogorov-Smirnov tests. The batch views draw the order of
the jitters once for a batch, so small batches are drawn many times.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
import torch
from lightly.transforms.simclr_transform import SimCLRViewTransform
from scipy.stats import ks_2samp
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode, RandomAffine
from torchvision.transforms.functional import to_pil_image

from fedmetric.views.base import Views
from fedmetric.views.batch import Geometry, NaturalViews
from fedmetric.views.lightly_transforms import LightlyViews

Pictures = Callable[..., Tensor]
IMAGES, DRAWS, SMALLEST = 3, 500, 1e-3


def statistics(views: Tensor) -> dict[str, Tensor]:
    """Return numbers of every view, (B,) each, that depend on crop, geometry or colour."""
    size = views.shape[-1]
    place = torch.linspace(-1, 1, size)
    grey = views.mean(1)
    mass = grey.sum((1, 2)) + 1e-6
    return {
        "mean": grey.mean((1, 2)),
        "deviation": grey.std((1, 2)),
        "centre in x": (grey.sum(1) * place).sum(1) / mass,
        "centre in y": (grey.sum(2) * place).sum(1) / mass,
        "corner": grey[:, 2:6, 2:6].mean((1, 2)),
        "middle": grey[:, size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2].mean((1, 2)),
        "red less blue": (views[:, 0] - views[:, -1]).mean((1, 2)),
        "saturation": (views.amax(1) - views.amin(1)).mean((1, 2)),
        "detail": (grey[:, :, 1:] - grey[:, :, :-1]).abs().mean((1, 2)),
    }


def p_values(first: Tensor, second: Tensor) -> dict[str, float]:
    ours, theirs = statistics(first), statistics(second)
    return {name: float(ks_2samp(ours[name].numpy(), theirs[name].numpy(), method="asymp").pvalue) for name in ours}


def batched(method: Views | Geometry, images: Tensor, draws: int = DRAWS) -> Tensor:
    generator = Generator().manual_seed(11)
    return torch.cat([method(images, generator) for _ in range(draws)])


@pytest.fixture(scope="module")
def seeded() -> Iterator[None]:
    """Seed the process-wide generators that torchvision draws from, and put them back."""
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        random.seed(7)
        yield
    random.setstate(state)


@pytest.fixture(scope="module")
def by_lightly(pictures: Pictures, seeded: None) -> Tensor:
    transform = SimCLRViewTransform(input_size=32, min_scale=0.2, cj_strength=0.5, gaussian_blur=0.0, normalize=None)
    files = [to_pil_image(image) for image in pictures(IMAGES)]
    return torch.stack([transform(file) for _ in range(DRAWS) for file in files])


def test_natural_views_agree_with_lightly(pictures: Pictures, by_lightly: Tensor) -> None:
    found = p_values(batched(NaturalViews(), pictures(IMAGES)), by_lightly)
    assert {name: p for name, p in found.items() if p <= SMALLEST} == {}


@pytest.mark.parametrize(
    ("options", "telling"),
    [
        ({"strength": 0.8}, "deviation"),
        ({"crop": (0.5, 1.0)}, "detail"),
        ({"grayscale": 0.4}, "saturation"),
        ({"jitter": 0.4}, "mean"),
        ({"flip": 0.0}, "centre in x"),
    ],
)
def test_the_same_comparison_tells_other_amounts_apart(
    options: dict[str, object], telling: str, pictures: Pictures, by_lightly: Tensor
) -> None:
    found = p_values(batched(NaturalViews(**options), pictures(IMAGES)), by_lightly)  # type: ignore[arg-type]
    assert found[telling] < SMALLEST


def test_the_lightly_views_are_lightlys(pictures: Pictures, by_lightly: Tensor) -> None:
    found = p_values(batched(LightlyViews(), pictures(IMAGES), 150), by_lightly)
    assert {name: p for name, p in found.items() if p <= SMALLEST} == {}


@pytest.fixture(scope="module")
def by_torchvision(pictures: Pictures, seeded: None) -> Tensor:
    """Views of 64 pixels, because torchvision rounds translations to whole pixels: 12.8 pixels hide the steps."""
    transform = RandomAffine(
        15, translate=(0.2, 0.2), scale=(0.8, 1.2), shear=(-10, 10, -10, 10), interpolation=InterpolationMode.BILINEAR
    )
    images = pictures(IMAGES, size=64)
    return torch.stack([transform(image) for _ in range(DRAWS) for image in images])


@pytest.mark.parametrize(
    ("amounts", "agree"),
    [
        ((15, 0.2, (0.8, 1.2), 10), True),
        ((15, 0.3, (0.8, 1.2), 10), False),
        ((15, 0.2, (0.7, 1.1), 10), False),
        ((60, 0.2, (0.8, 1.2), 10), False),
        ((15, 0.2, (0.8, 1.2), 35), False),
    ],
)
def test_affine_views_agree_with_torchvision_at_equal_amounts_only(
    amounts: tuple[float, float, tuple[float, float], float], agree: bool, pictures: Pictures, by_torchvision: Tensor
) -> None:
    rotation, translation, scaling, shear = amounts
    ours = Geometry((1.0, 1.0), rotation, translation, scaling, shear, 0.0)
    found = p_values(batched(ours, pictures(IMAGES, size=64)), by_torchvision)
    assert (min(found.values()) > SMALLEST) is agree, found
