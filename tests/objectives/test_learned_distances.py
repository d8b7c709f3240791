"""A learned distance is trained, shared, averaged and measured like a head of the objective."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.config import Experiment
from fedmetric.config.compatibility import groups_of
from fedmetric.distances.cosine import Cosine
from fedmetric.distances.euclidean import Euclidean
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.registry import distances
from fedmetric.server.judge import Judge
from fedmetric.training.site import Site
from oracles.federation import Federation
from tiny import tiny

LEARNED = [name for name in distances if distances[name].traits.get("learned")]


def experiment(distance: str, *overrides: str) -> Experiment:
    return tiny("objective.name=triplet", f"objective.distance={distance}", *overrides)


@pytest.mark.parametrize("name", LEARNED)
def test_it_is_the_group_distance_and_the_network_is_compared_by_it(name: str) -> None:
    network = build_embedder(experiment(name), 1)
    assert network.objective.groups == groups_of(experiment(name).objective) == ("distance",)
    names = network.layout.of("distance")
    assert names
    assert set(names) <= set(network.layout.shareable) & network.layout.parameters
    assert all(key.startswith("objective.distance.") for key in names)
    assert network.metric() is network.objective.get_submodule("distance")
    assert network.metric(names) is network.metric()
    assert isinstance(network.metric([]), Cosine)


def test_other_objectives_are_compared_by_the_distance_of_their_loss_or_by_cosine() -> None:
    assert isinstance(build_embedder(tiny(), 1).metric([]), Cosine)
    assert isinstance(build_embedder(experiment("euclidean"), 1).metric([]), Euclidean)
    assert isinstance(build_embedder(tiny("objective.name=circle"), 1).metric([]), Cosine)


@pytest.mark.parametrize("order", [("simclr", "triplet"), ("triplet", "simclr")])
def test_a_hybrid_is_compared_by_the_distance_of_the_part_that_has_one(order: tuple[str, ...]) -> None:
    parts = {"simclr": '"simclr"', "triplet": '{name="triplet", distance="mahalanobis"}'}
    network = build_embedder(
        tiny("objective.name=hybrid", f"objective.parts=[{', '.join(parts[n] for n in order)}]"), 1
    )
    assert isinstance(network.metric(), Mahalanobis)
    assert network.metric() is network.objective.get_submodule("triplet.distance")
    assert "triplet.distance" in network.layout.groups.values()
    assert isinstance(network.metric(network.layout.of("backbone")), Cosine)


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("rule", ["fedavg", "scaffold", "fedadam"])
def test_clients_train_it_and_the_server_averages_it(name: str, rule: str) -> None:
    federation = Federation(Site(experiment(name, f"federation.rule.name={rule}")))
    names = federation.site.trainer.embedder.layout.of("distance")
    start = dict(federation.shared)
    federation.run(1)
    assert set(names) <= set(federation.site.trainer.routes.up) & set(federation.site.trainer.routes.down)
    for key in names:
        uploads = [update.arrays[key] for update in federation.updates]
        assert not any(np.array_equal(upload, start[key]) for upload in uploads) or name == "pair-mlp"
        if rule == "fedavg":
            weights = [update.num_examples for update in federation.updates]
            np.testing.assert_allclose(federation.shared[key], np.average(uploads, axis=0, weights=weights), atol=1e-6)
    assert any(not np.array_equal(federation.shared[key], start[key]) for key in names)


def test_the_server_measures_by_the_distance_that_it_holds() -> None:
    """A map onto nothing but the first dimension of the embedding costs retrieval; FedPer has no map at the server."""
    site = Site(experiment("mahalanobis"))
    judge, network = Judge(site), site.trainer.embedder
    weights = network.shared()
    before = judge.measure(weights, full=False)[0]["map@r"].mean
    name = "objective.distance.weight"
    weights[name] = np.where(np.arange(weights[name].shape[1]) == 0, weights[name], 0).astype(np.float32)
    after = judge.measure(weights, full=False)[0]["map@r"].mean
    assert before is not None
    assert after is not None
    assert after < before
    local = Judge(Site(experiment("mahalanobis", "federation.rule.name=fedper")))
    plain = Judge(Site(experiment("cosine")))
    backbone = {key: weights[key] for key in network.layout.of("backbone")}
    assert local.measure(backbone, full=False)[0] == plain.measure(backbone, full=False)[0]


def test_the_untrained_row_is_measured_by_its_own_distance() -> None:
    rank = "objective.distance.rank=1"
    flat, plain = (Judge(Site(experiment(*given))) for given in (("mahalanobis", rank), ("cosine",)))
    assert flat.baselines["random"]["map@r"] != plain.baselines["random"]["map@r"]
    assert flat.baselines["pixels"] == plain.baselines["pixels"]


def test_every_client_alone_is_measured_by_its_own_distance() -> None:
    judge = Judge(Site(experiment("mahalanobis", "federation.rule.name=solo")))
    federation = Federation(judge.site)
    federation.run(1)
    found = judge.measure_clients({0: federation.memories[0]}, full=False)[0]
    network: Embedder = judge._embedder
    assert isinstance(network.metric(judge.site.trainer.routes.own), Mahalanobis)
    assert found["map@r"].mean is not None
