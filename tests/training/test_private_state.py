"""Heads that never leave a client, and layers that draw random numbers of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmetric.arrays import Arrays, sha256_of
from fedmetric.config import Experiment
from fedmetric.federation.base import Update
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from tiny import tiny

OWN_HEAD = """
from fedmetric.objectives.simclr import SimCLR

class OwnHead(SimCLR):
    private = frozenset({"projector"})
"""


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    (tmp_path / "own_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    return tiny("objective=own_head:OwnHead")


def train(site: Site, client: int, memory: Arrays, round: int = 1) -> Update:
    shared = site.trainer.embedder.shared() if round == 1 else train(site, client, {}, 1).arrays
    return local_update(site.trainer, site.images_of(client), shared, {}, memory, round, client)


def test_a_private_head_is_not_uploaded_and_stays_in_the_clients_memory(experiment: Experiment) -> None:
    memory: Arrays = {}
    update = train(Site(experiment), 0, memory)
    assert all(name.startswith("backbone.") for name in update.arrays)
    assert any(name.startswith("private.objective.projector.") for name in memory)


def test_a_private_head_does_not_pass_from_one_client_to_the_next(experiment: Experiment) -> None:
    alone, after_another = Site(experiment), Site(experiment)
    start = after_another.trainer.embedder.shared()
    local_update(after_another.trainer, after_another.images_of(0), start, {}, {}, 1, 0)
    memories: tuple[Arrays, Arrays] = ({}, {})
    for site, memory in zip((alone, after_another), memories, strict=True):
        local_update(site.trainer, site.images_of(1), start, {}, memory, 1, 1)
    assert sha256_of(memories[0]) == sha256_of(memories[1])


def test_a_private_head_goes_on_from_the_clients_own_last_round(experiment: Experiment) -> None:
    site, memory = Site(experiment), dict[str, np.ndarray]()
    first = train(site, 0, memory)
    kept = dict(memory)
    again = local_update(site.trainer, site.images_of(0), first.arrays, {}, memory, 2, 0)
    fresh = local_update(site.trainer, site.images_of(0), first.arrays, {}, {}, 2, 0)
    assert sha256_of(kept) != sha256_of(memory)
    assert sha256_of(again.arrays) != sha256_of(fresh.arrays)


def test_layers_with_dropout_give_the_same_bits_again() -> None:
    experiment = tiny(
        "model.name=torchvision", "model.arch=mobilenet_v3_small", "image_size=32", "partition.clients=12"
    )
    site = Site(experiment)
    shared = site.trainer.embedder.shared()
    shas = {sha256_of(local_update(site.trainer, site.images_of(0), shared, {}, {}, 1, 0).arrays) for _ in range(2)}
    assert len(shas) == 1
