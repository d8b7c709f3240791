"""Proxies inside the training loop: their rate, their warm-up, their start, and class weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
import torch

from fedmetric.arrays import Arrays
from fedmetric.config import parse_experiment
from fedmetric.data.base import Dataset, ImageSet
from fedmetric.federation.memory import ClientState
from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.training.local_update import local_update, wants_meeting
from fedmetric.training.site import Site

TEXT = """
image_size = 16
partition = { name = "classes-per-client", clients = 2, classes = 3 }
views = "none"
model = { width = 4 }
objective = "norm-softmax"
federation = { rounds = 4 }
local = { batch_size = 6, optimiser = "sgd", momentum = 0.0, lr = 0.01, proxy_lr = 1.0 }
"""


def site_of(*overrides: str, sizes: tuple[int, ...] = (6, 6, 6, 6, 6, 6)) -> Site:
    site = Site(parse_experiment(TEXT, "proxies", overrides))
    labels = np.repeat(np.arange(6), sizes)
    pixels = np.random.default_rng(1).integers(0, 256, (len(labels), 16, 16, 1), dtype=np.uint8)
    names = tuple("abcdefg")
    held_out = ImageSet("random", pixels[:2], np.full(2, 6, np.int64), names)
    site.__dict__["dataset"] = Dataset(ImageSet("random", pixels, labels.astype(np.int64), names), held_out)
    return site


def after(site: Site, client: int = 0, rounds: int = 1) -> tuple[Arrays, Arrays]:
    """Train one client for some rounds; return its shared weights and its own."""
    shared, state = site.beginning(), ClientState(client)
    for round in range(1, rounds + 1):
        sent = {name: shared[name] for name in site.trainer.routes.down}
        shared = local_update(site.trainer_of(client), site.images_of(client), sent, {}, state, round).arrays
    return shared, state.own


def parameters(site: Site, arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if name in site.trainer.embedder.layout.parameters}


def moved(site: Site, client: int = 0) -> float:
    """Return how far the proxies move in the first step."""
    start = drawn(site, client)
    _, own = after(site, client)
    (found,) = own.values()
    return float(np.linalg.norm(found - start))


def drawn(site: Site, client: int) -> np.ndarray:
    """Return the proxies of a client before its first step, as the loss stores them."""
    still = site_of("local.lr=1e-30", "local.proxy_lr=1")
    _, own = after(still, client)
    (found,) = own.values()
    return found


def test_while_proxies_warm_up_nothing_else_learns() -> None:
    site = site_of("local.proxy_warmup=2")
    start = parameters(site, site.beginning())
    for rounds, same in ((1, True), (2, True), (3, False)):
        found = parameters(site, after(site, rounds=rounds)[0])
        assert all(np.array_equal(found[name], start[name]) for name in start) == same
    assert moved(site) > 0


STAGED = (
    'objective={name="hybrid", parts=["simclr", "norm-softmax"], '
    "stages=[{rounds=2, weights=[1, 0]}, {rounds=2, weights=[0, 1]}]}",
    'views={name="glyphs"}',
)


def test_in_stages_proxies_warm_up_when_their_stage_begins() -> None:
    """Rounds 1 and 2 have no proxies, in round 3 they learn alone, in round 4 everything learns."""
    site = site_of(*STAGED, "local.proxy_warmup=1")
    backbone = [name for name in parameters(site, site.beginning()) if name.startswith("backbone.")]
    found = [site.beginning(), *(after(site, rounds=rounds)[0] for rounds in (1, 2, 3, 4))]
    learns = [any(not np.array_equal(one[name], two[name]) for name in backbone) for one, two in pairwise(found)]
    assert learns == [True, True, False, True]


def test_in_stages_proxies_begin_as_means_of_the_network_that_their_stage_begins_with() -> None:
    site = site_of(*STAGED, "local.proxy_init=mean", "local.proxy_lr=1e-30", "local.proxy_warmup=1")
    (before,), (begun,) = (after(site, rounds=rounds)[1].values() for rounds in (2, 3))
    still = site_of(*STAGED, "local.proxy_init=mean", "local.proxy_lr=1e-30", "local.lr=1e-30")
    (of_the_untrained,) = after(still, rounds=2)[1].values()
    assert np.allclose(before, of_the_untrained, atol=1e-6)
    assert not np.allclose(begun, before, atol=1e-3)


def test_a_client_is_met_again_only_when_its_classes_begin_to_count() -> None:
    objective = site_of(*STAGED).trainer.embedder.objective
    assert [objective.class_rounds(round) for round in range(5)] == [0, 0, 0, 1, 2]
    met = [(last, round) for round in range(1, 5) for last in range(round) if wants_meeting(objective, last, round)]
    assert met == [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3), (0, 4), (1, 4), (2, 4)]


def test_the_rate_of_proxies_is_a_multiple_of_the_rest() -> None:
    """One step of plain SGD moves them five times as far."""
    one, five = (moved(site_of("local.batch_size=18", f"local.proxy_lr={factor}")) for factor in (1, 5))
    assert five == pytest.approx(5 * one, rel=1e-4)


def test_proxies_that_start_as_means_lie_with_their_classes() -> None:
    site = site_of("local.proxy_init=mean", "local.lr=1e-30", "local.batch_size=18")
    after(site)
    trainer, images = site.trainer_of(0), site.images_of(0)
    trainer.embedder.load(site.beginning() | {}, trainer.routes.down)
    rows = cast(ProxyObjective, trainer.embedder.objective).rows()[:, 0]
    pixels = torch.from_numpy(np.array(images.images)).permute(0, 3, 1, 2).float() / 255
    embeddings = trainer.embedder.embed(pixels)
    for label in range(3):
        mean = torch.nn.functional.normalize(embeddings[torch.from_numpy(images.labels) == label].mean(dim=0), dim=0)
        assert torch.allclose(rows[label], mean, atol=1e-5)


def test_class_weights_change_nothing_where_classes_are_equal_and_something_where_they_are_not() -> None:
    for sizes, same in (((6,) * 6, True), ((3, 6, 9, 6, 6, 6), False)):
        plain, weighed = (
            after(site_of(f"local.class_weights={kind}", "local.batch_size=18", sizes=sizes))
            for kind in ("none", "inverse")
        )
        close = all(np.allclose(plain[0][name], weighed[0][name], atol=1e-7) for name in plain[0])
        assert close == same


def test_the_weights_of_one_clients_classes_do_not_follow_to_the_next() -> None:
    """Both clients have three classes, so one network serves both in turn."""
    sizes = (2, 4, 12, 8, 5, 5)
    settings: dict[str, Any] = {"sizes": sizes}
    together, apart = (
        site_of("local.class_weights=inverse", **settings),
        site_of("local.class_weights=inverse", **settings),
    )
    after(together, 0)
    assert together.trainer_of(0) is together.trainer_of(1)
    first, second = after(together, 1), after(apart, 1)
    assert all(np.array_equal(first[0][name], second[0][name]) for name in first[0])


def test_clients_draw_other_rows_and_always_the_same() -> None:
    assert not np.array_equal(drawn(site_of(), 0), drawn(site_of(), 1))
    assert np.array_equal(drawn(site_of(), 1), drawn(site_of(), 1))
