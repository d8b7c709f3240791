"""Statistics of norm layers measured by a forward pass, against numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedmetric.arrays import Arrays
from fedmetric.data.base import Dataset, ImageSet
from fedmetric.federation.memory import ClientState
from fedmetric.training.calibrate import BATCH, MAX_IMAGES, calibrate, calibrated_names
from fedmetric.training.site import Site

Images = Callable[..., ImageSet]
FIRST = "backbone.block1.norm"


def site_of(small: Callable[..., object], images: ImageSet, *overrides: str) -> Site:
    site = Site(small("partition=iid", "partition.clients=1", *overrides))  # type: ignore[arg-type]
    site.__dict__["dataset"] = Dataset(images, images.subset(np.empty(0, np.int64)))
    return site


def down(site: Site) -> Arrays:
    return site.trainer.embedder.arrays(site.trainer.routes.down)


def first_layer(site: Site, images: np.ndarray) -> np.ndarray:
    """Return what enters the first norm layer: (channels, everything else)."""
    weight = torch.from_numpy(down(site)["backbone.block1.conv.weight"])
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    return functional.conv2d(pixels, weight, padding=1).transpose(0, 1).flatten(1).double().numpy()


@pytest.mark.parametrize("count", [10, BATCH, BATCH + 30])
def test_the_first_layer_has_the_mean_over_batches_of_their_means_and_variances(
    small: Callable[..., object], make_images: Images, count: int
) -> None:
    """158 images are two batches of 79; torch's running variance is the unbiased one."""
    images = make_images(count)
    site = site_of(small, images)
    update = calibrate(site.trainer, images, down(site), ClientState(0))
    batches = [first_layer(site, part) for part in np.array_split(images.images, -(-count // BATCH))]
    means = np.mean([batch.mean(axis=1) for batch in batches], axis=0)
    variances = np.mean([batch.var(axis=1, ddof=1) for batch in batches], axis=0)
    np.testing.assert_allclose(update.arrays[f"{FIRST}.running_mean"], means, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(update.arrays[f"{FIRST}.running_var"], variances, rtol=1e-4)
    assert update.num_examples == count


def test_every_layer_of_the_backbone_and_no_head_is_measured(small: Callable[..., object], make_images: Images) -> None:
    site = site_of(small, make_images(10))
    update = calibrate(site.trainer, make_images(10), down(site), ClientState(0))
    layers = [f"backbone.block{number}.norm.running_{what}" for number in range(1, 5) for what in ("mean", "var")]
    assert list(update.arrays) == layers == calibrated_names(site.trainer.embedder.layout, site.trainer.routes.down)


def test_statistics_that_clients_do_not_take_over_are_not_measured(
    small: Callable[..., object], make_images: Images
) -> None:
    site = site_of(small, make_images(10), "federation.rule=fedbn")
    assert calibrated_names(site.trainer.embedder.layout, site.trainer.routes.down) == []


def test_weights_decide_and_not_what_the_layers_held(small: Callable[..., object], make_images: Images) -> None:
    """Whatever running statistics are received, and whatever the network did before, the same come out."""
    images = make_images(20)
    site = site_of(small, images)
    wanted = calibrate(site.trainer, images, down(site), ClientState(0)).arrays
    odd = {name: array + 7 if "running" in name else array for name, array in down(site).items()}
    found = calibrate(site.trainer, images, odd, ClientState(0)).arrays
    assert all(found[name].tobytes() == array.tobytes() for name, array in wanted.items())
    other = {name: array * 2 if name.endswith("conv.weight") else array for name, array in odd.items()}
    doubled = calibrate(site.trainer, images, other, ClientState(0)).arrays[f"{FIRST}.running_mean"]
    np.testing.assert_allclose(doubled, 2 * wanted[f"{FIRST}.running_mean"], rtol=1e-5)


def test_the_clients_state_and_the_layers_momentum_are_left_alone(
    small: Callable[..., object], make_images: Images
) -> None:
    site, state = site_of(small, make_images(10)), ClientState(0, 3, rule={"lambda": np.array(0.5)})
    calibrate(site.trainer, make_images(10), down(site), state)
    assert state == ClientState(0, 3, rule={"lambda": np.array(0.5)})
    assert site.trainer.embedder.get_submodule(FIRST).momentum == 0.1


def test_at_most_1024_images_evenly_spread_are_run(small: Callable[..., object]) -> None:
    """Only the last 10 of 3,000 images are not black: three or four of them are among 1,024 evenly spread ones."""
    pixels = np.zeros((3000, 16, 16, 1), np.uint8)
    pixels[-10:] = 255
    images = ImageSet("late", pixels, np.zeros(3000, np.int64), ("a",))
    site = site_of(small, images)
    update = calibrate(site.trainer, images, down(site), ClientState(0))
    assert update.num_examples == MAX_IMAGES == 1024
    assert update.arrays[f"{FIRST}.running_var"].any()
