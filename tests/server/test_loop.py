"""The round loop of the server, with clients trained in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmetric.arrays import sha256_of
from fedmetric.data.base import class_hash
from fedmetric.errors import ConfigError, FedmetricError
from fedmetric.export import load_model
from fedmetric.runs import RunFolder
from fedmetric.server import loop as server_loop
from fedmetric.server.checkpoints import latest_checkpoint
from fedmetric.server.judge import Judge
from fedmetric.server.loop import Report, is_due, wait_for_nodes
from fedmetric.simulations.engines.local import run_local
from fedmetric.training.site import Site
from tiny import tiny


def run(folder: Path, *overrides: str) -> tuple[Report, list[Mapping[str, Any]]]:
    experiment = tiny(*overrides)
    events: list[Mapping[str, Any]] = []
    report = run_local(Site(experiment), RunFolder.create(folder, experiment), events.append, workers=1)
    return report, events


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[Mapping[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return (*run(folder), folder)


def test_events_tell_the_story_in_order(finished: tuple[Report, list[Mapping[str, Any]], Path]) -> None:
    kinds = [event["event"] for event in finished[1]]
    assert kinds == [
        "start", "baselines", "round", "evaluation", "checkpoint", "round", "checkpoint", "evaluation",
    ]  # fmt: skip


def test_every_figure_stands_beside_pixels_and_an_untrained_network(
    finished: tuple[Report, list[Mapping[str, Any]], Path],
) -> None:
    evaluation = finished[0].evaluation
    assert set(evaluation) == {"trained", "pixels", "random"}
    for row in evaluation.values():
        assert set(row) >= {"recall@1", "map@r", "mrr", "fewshot_3w1s", "knn_accuracy", "linear_accuracy"}
    assert evaluation["trained"]["recall@1"] != evaluation["random"]["recall@1"]


def test_the_exported_model_has_the_reported_weights_and_the_hashes_of_its_classes(
    finished: tuple[Report, list[Mapping[str, Any]], Path],
) -> None:
    report, _, folder = finished
    model = load_model(folder / "model")
    assert sha256_of(model.embedder.shared()) == report.weights_sha256
    assert set(model.class_hashes) == {class_hash(f"digit {d}") for d in (0, 2, 4, 5, 6, 7)}


def test_the_last_checkpoint_holds_the_final_weights_and_every_clients_state(
    finished: tuple[Report, list[Mapping[str, Any]], Path],
) -> None:
    report, _, folder = finished
    checkpoint, problems = latest_checkpoint(folder / "checkpoints")
    assert problems == []
    assert checkpoint.round == 2
    assert sha256_of(checkpoint.shared) == report.weights_sha256
    assert {client: int(memory["last-round"]) for client, memory in checkpoint.memories.items()} == {0: 2, 1: 2, 2: 2}


def test_round_events_count_clients_examples_and_bytes(finished: tuple[Report, list[Mapping[str, Any]], Path]) -> None:
    start = finished[1][0]
    event = next(event for event in finished[1] if event["event"] == "round")
    assert (event["ok"], event["failed"], event["failures"]) == (3, 0, [])
    assert event["bytes_up"] == event["bytes_down"] == 3 * start["shared_bytes"]
    sizes = [len(part) for part in Site(tiny()).parts]
    assert event["examples"] == sum(size // 64 * 64 for size in sizes)
    assert event["lr"] == pytest.approx(1e-3)


def test_no_round_at_all_evaluates_the_untrained_network(tmp_path: Path) -> None:
    report, _ = run(tmp_path / "run", "federation.rounds=0")
    assert report.rounds == 0
    assert report.evaluation["trained"] == report.evaluation["random"]


def test_small_clients_shrink_their_batch_and_the_run_says_so(tmp_path: Path) -> None:
    _, events = run(tmp_path / "run", "partition.clients=40", "federation.rounds=1", "evaluation.every=0")
    assert events[0]["small_clients"] == 40
    event = next(event for event in events if event["event"] == "round")
    assert event["shrunk"] == 40
    assert event["examples"] == sum(len(part) for part in Site(tiny("partition.clients=40")).parts)


def test_a_cohort_takes_part_of_the_clients(tmp_path: Path) -> None:
    _, events = run(tmp_path / "run", "federation.clients_per_round=2", "federation.rounds=1")
    assert next(event for event in events if event["event"] == "round")["ok"] == 2


def test_a_validation_split_is_kept_from_every_client() -> None:
    site = Site(tiny("validation_classes=0.34", "evaluation.on=validation"))
    trained, measured = set(site.training_images.present_classes()), set(site.evaluation_images.present_classes())
    assert len(measured) == 2
    assert not trained & measured
    assert trained | measured == set(site.dataset.train.present_classes())


def test_the_judge_refuses_classes_that_are_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tiny())
    monkeypatch.setattr(Site, "evaluation_images", property(lambda self: self.dataset.train))
    with pytest.raises(FedmetricError, match="the model was trained on 6 of the evaluated classes: digit 0"):
        Judge(site)


def test_a_backbone_that_does_not_fit_the_images_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model 'conv4' does not fit image_size=8"):
        run(tmp_path / "run", "image_size=8")


@pytest.mark.parametrize(
    ("round", "every", "due"), [(5, 5, True), (10, 5, True), (4, 5, False), (4, 0, False), (1, 1, True)]
)
def test_zero_is_never_due(round: int, every: int, due: bool) -> None:
    assert is_due(round, every) is due


def test_waiting_for_clients_that_never_come_ends_with_both_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_loop, "NODE_WAIT_SECONDS", -1.0)

    class Empty:
        def get_node_ids(self) -> list[int]:
            return [7]

    with pytest.raises(FedmetricError, match="1 of 3 clients connected"):
        wait_for_nodes(Empty(), 3)  # type: ignore[arg-type]


def test_nodes_are_taken_in_ascending_order() -> None:
    class Three:
        def get_node_ids(self) -> list[int]:
            return [9, 2, 5]

    assert wait_for_nodes(Three(), 2) == [2, 5]  # type: ignore[arg-type]


def test_the_learning_rate_reaches_the_clients(tmp_path: Path) -> None:
    slow, _ = run(tmp_path / "slow", "local.lr=1e-6", "federation.rounds=1", "evaluation.every=0")
    fast, _ = run(tmp_path / "fast", "local.lr=1e-2", "federation.rounds=1", "evaluation.every=0")
    name = "backbone.block1.conv.weight"
    start = Site(tiny()).trainer.embedder.shared()[name]
    assert np.abs(slow.shared[name] - start).max() < np.abs(fast.shared[name] - start).max() / 10
