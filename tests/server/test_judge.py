"""What is measured of weights every round, and of every client's own network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fedmetric.arrays import Arrays
from fedmetric.data.base import class_hash
from fedmetric.errors import DataError
from fedmetric.evaluation.base import Score
from fedmetric.export import save_model
from fedmetric.federation.memory import ClientState
from fedmetric.models.embedder import build_embedder
from fedmetric.runs import ABOUT, WEIGHTS
from fedmetric.server.checkpoints import Checkpoint
from fedmetric.server.events import start_event
from fedmetric.server.judge import INSPECTED, Judge, mean_of_clients
from fedmetric.training.site import Site
from tiny import tiny

BATCH_NORM, GROUP_NORM = tiny(), tiny("federation.norm=group_norm")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(Site(BATCH_NORM))


def start(judge: Judge) -> Arrays:
    return judge.site.trainer.embedder.shared()


def inspected(judge: Judge) -> torch.Tensor:
    return judge._inspected[0]


def fitted(judge: Judge) -> Arrays:
    """Return initial weights whose running statistics are those of exactly the inspected images."""
    embedder = build_embedder(judge.site.experiment, 1)
    for module in embedder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    embedder.train()
    with torch.no_grad():
        embedder.backbone(inspected(judge))
    return embedder.shared()


def test_weights_that_saw_an_evaluated_class_are_not_started_from(tmp_path: Path) -> None:
    site = Site(BATCH_NORM)
    seen = site.evaluation_images.present_classes()[0]
    weights = site.trainer.embedder.shared()
    save_model(tmp_path, BATCH_NORM, 1, weights, (class_hash(seen),))
    for place in (tmp_path, tmp_path / WEIGHTS):
        with pytest.raises(DataError, match=f"start.weights: the model was trained on 1 of the evaluated .*: {seen}"):
            Judge(Site(tiny(f'start.weights="{place}"')))


def test_what_the_start_was_trained_on_travels_with_what_comes_of_it(tmp_path: Path, judge: Judge) -> None:
    elsewhere = class_hash("a class of another data set")
    save_model(tmp_path, BATCH_NORM, 1, start(judge), (elsewhere, judge.class_hashes[0]))
    goes_on = Judge(Site(tiny(f'start.weights="{tmp_path}"')))
    assert goes_on.class_hashes == (*judge.class_hashes, elsewhere)


def test_weights_of_which_nobody_says_what_they_saw_are_told_of(tmp_path: Path, judge: Judge) -> None:
    save_model(tmp_path, BATCH_NORM, 1, start(judge), ())
    (tmp_path / ABOUT).unlink()
    site = Site(tiny(f'start.weights="{tmp_path / WEIGHTS}"'))
    notes = start_event(site, Checkpoint(0, start(judge), {}, {}, "", ()))["notes"]
    assert notes[-1].startswith("nothing beside start.weights says which classes it was trained on")
    assert Judge(site).class_hashes == judge.class_hashes


def test_at_most_256_images_of_unseen_classes_are_inspected_and_always_the_same(judge: Judge) -> None:
    assert len(inspected(judge)) == min(INSPECTED, len(judge.site.evaluation_images))
    assert torch.equal(inspected(judge), inspected(Judge(Site(BATCH_NORM))))


def test_the_figures_are_those_of_numpy_on_the_embeddings(judge: Judge) -> None:
    embedder = build_embedder(BATCH_NORM, 1)
    unit = embedder.embed(inspected(judge)).double().numpy()
    with torch.no_grad():
        batch = embedder.train().backbone(inspected(judge)).flatten(1).double().numpy()
    batch /= np.linalg.norm(batch, axis=1, keepdims=True)
    found = judge.inspect(start(judge))
    assert set(found) == {"std", "rank", "uniformity", "alignment", "batch_std", "norm_gap", "batches"}
    assert found["batches"] == 0
    scale = unit.shape[1] ** 0.5
    assert found["std"] == pytest.approx(unit.std(axis=0).mean() * scale, rel=1e-5)
    assert found["batch_std"] == pytest.approx(batch.std(axis=0).mean() * scale, rel=1e-5)
    assert found["norm_gap"] == pytest.approx(1 - (batch * unit).sum(axis=1).mean(), abs=1e-6)


def test_the_norm_gap_is_zero_where_running_statistics_fit_or_there_are_none(judge: Judge) -> None:
    """Untrained BatchNorm layers keep mean 0 and variance 1, which fit nothing; GroupNorm has one mode."""
    assert judge.inspect(start(judge))["norm_gap"] > 0.1
    assert judge.inspect(fitted(judge))["norm_gap"] == pytest.approx(0, abs=1e-4)
    other = Judge(Site(GROUP_NORM))
    assert other.inspect(start(other))["norm_gap"] == pytest.approx(0, abs=1e-6)


def test_inspecting_leaves_no_trace_in_later_figures(judge: Judge) -> None:
    """Norm layers in train mode move their running statistics."""
    first, scores = judge.inspect(start(judge)), judge.measure(start(judge), full=False)
    judge.inspect(fitted(judge))
    assert judge.inspect(start(judge)) == first
    assert judge.measure(start(judge), full=False) == scores


def test_the_untrained_network_is_that_of_the_seed(judge: Judge) -> None:
    assert {**judge.untrained, "batches": 0.0} == judge.inspect(start(judge))


@pytest.mark.parametrize("value", [0.0, float("inf")])
def test_a_dead_or_diverged_network_has_no_deviation_and_is_not_an_error(judge: Judge, value: float) -> None:
    dead = {
        name: np.full_like(array, value) if array.dtype == np.float32 else array
        for name, array in start(judge).items()
    }  # fmt: skip
    assert judge.inspect(dead) == {"std": 0.0, "batches": 0.0}


def test_every_client_is_measured_with_its_own_network(judge: Judge) -> None:
    """A client's state holds the network; the same weights as a server's get the same scores."""
    solo = Judge(Site(tiny("federation.rule=solo")))
    networks = {client: build_embedder(BATCH_NORM, 1, init_seed=client).shared() for client in (0, 2)}
    memories = {client: ClientState(client, 1, own=own).to_arrays() for client, own in networks.items()}
    found = solo.measure_clients(memories, full=False)
    assert set(found) == {0, 2}
    for client, own in networks.items():
        assert found[client] == judge.measure(own, full=False)[0]
    assert found[0] != found[2]


def test_the_mean_of_clients_is_over_clients() -> None:
    """0.2, 0.6 and 0.7 have mean 0.5 and deviation sqrt(0.07); a client without the figure is left out of it."""
    clients = {
        client: {"recall@1": Score(value, 0.9, 100), "map@r": Score(None if client == 1 else 0.4, None, 5)}
        for client, value in enumerate((0.2, 0.6, 0.7))
    }
    found = mean_of_clients(clients)
    assert found["recall@1"].mean == pytest.approx(0.5)
    assert found["recall@1"].ci95 == pytest.approx(1.96 * 0.07**0.5 / 3**0.5)
    assert found["recall@1"].n == 3
    assert (found["map@r"].mean, found["map@r"].n) == (pytest.approx(0.4), 2)


def test_the_mean_of_no_clients_has_no_figures() -> None:
    assert mean_of_clients({}) == {}
