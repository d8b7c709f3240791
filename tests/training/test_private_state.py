"""Heads that never leave a client, and layers that draw random numbers of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmetric.arrays import sha256_of
from fedmetric.config import Experiment
from fedmetric.federation.base import Update
from fedmetric.federation.memory import ClientState
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from tiny import tiny

OWN_HEAD = """
from fedmetric.objectives.simclr import SimCLR

class OwnHead(SimCLR):
    private = ("projector",)
"""


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    (tmp_path / "own_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    return tiny("objective=own_head:OwnHead")


def train(site: Site, state: ClientState) -> Update:
    return local_update(site.trainer, site.images_of(state.client), site.trainer.embedder.shared(), {}, state, 1)


def test_a_private_head_is_not_uploaded_and_stays_in_the_clients_memory(experiment: Experiment) -> None:
    state = ClientState(0)
    update = train(Site(experiment), state)
    assert all(name.startswith("backbone.") for name in update.arrays)
    assert any(name.startswith("objective.projector.") for name in state.own)
    assert not any(name.startswith("backbone.") for name in state.own)


def test_a_private_head_does_not_pass_from_one_client_to_the_next(experiment: Experiment) -> None:
    alone, after_another = Site(experiment), Site(experiment)
    start = after_another.trainer.embedder.shared()
    local_update(after_another.trainer, after_another.images_of(0), start, {}, ClientState(0), 1)
    states = (ClientState(1), ClientState(1))
    for site, state in zip((alone, after_another), states, strict=True):
        local_update(site.trainer, site.images_of(1), start, {}, state, 1)
    assert sha256_of(states[0].to_arrays()) == sha256_of(states[1].to_arrays())


def test_a_private_head_goes_on_from_the_clients_own_last_round(experiment: Experiment) -> None:
    site, state = Site(experiment), ClientState(0)
    first = train(site, state)
    kept = dict(state.own)
    again = local_update(site.trainer, site.images_of(0), first.arrays, {}, state, 2)
    fresh = local_update(site.trainer, site.images_of(0), first.arrays, {}, ClientState(0), 2)
    assert sha256_of(kept) != sha256_of(state.own)
    assert sha256_of(again.arrays) != sha256_of(fresh.arrays)


def test_layers_with_dropout_give_the_same_bits_again() -> None:
    experiment = tiny(
        "model.name=torchvision", "model.arch=mobilenet_v3_small", "image_size=32", "partition.clients=12"
    )
    site = Site(experiment)
    shared = site.trainer.embedder.shared()
    shas = {
        sha256_of(local_update(site.trainer, site.images_of(0), shared, {}, ClientState(0), 1).arrays) for _ in range(2)
    }
    assert len(shas) == 1
