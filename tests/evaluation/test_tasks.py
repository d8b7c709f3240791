from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from fedmetric.config.experiment import Evaluation, TaskName
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.tasks import TASKS
from oracles.geometry import cloud, clusters

SETTINGS = Evaluation(episodes=10, queries=3, few_shot=("3w1s",))


def test_every_name_that_an_experiment_may_ask_for_is_there_and_no_other() -> None:
    assert set(TASKS) == set(get_args(TaskName))


def test_the_default_is_what_was_always_measured() -> None:
    assert Evaluation().tasks == ("retrieval", "fewshot", "transfer")
    assert Evaluation().rerank == "none"


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_the_same_names_with_and_without_anything_to_measure(name: str) -> None:
    full = TASKS[name].measure(Labelled(*clusters(26, 8, 6, 0, spread=1.0)), SETTINGS, 1, "cosine")
    empty = TASKS[name].measure(Labelled(cloud(0, 0, 0), np.zeros(0, np.int64)), SETTINGS, 1, "cosine")
    alone = TASKS[name].measure(Labelled(cloud(3, 2, 0), np.array([7, 3, 5])), SETTINGS, 1, "cosine")
    assert set(full) == set(empty) == set(alone)
    assert all(score.mean is not None and score.n > 0 for label, score in full.items() if "0.1%" not in label)
    assert all(score.mean is None and score.n == 0 for score in (*empty.values(), *alone.values()))


@pytest.mark.parametrize("name", TASKS)
def test_labels_may_be_renamed_in_their_order(name: str) -> None:
    points, labels = clusters(13, 8, 6, 0, spread=1.0)
    first, second = (
        TASKS[name].measure(Labelled(points, ids), SETTINGS, 1, "cosine") for ids in (labels, 2**53 + labels)
    )
    assert {key: score.mean for key, score in first.items()} == pytest.approx(
        {key: score.mean for key, score in second.items()}
    )


def test_names_of_tasks_do_not_meet() -> None:
    images = Labelled(*clusters(6, 6, 6, 0, spread=1.0))
    names = [name for task in TASKS.values() for name in task.measure(images, SETTINGS, 1, "cosine")]
    assert len(names) == len(set(names))


def test_the_rates_of_verification_are_settings() -> None:
    images = Labelled(*clusters(6, 6, 6, 0, spread=1.0))
    settings = Evaluation(false_accepts=(0.05, 0.0001))
    found = TASKS["verification"].measure(images, settings, 1, "cosine")
    assert {name for name in found if "tar" in name} == {"verification_tar@5%", "verification_tar@0.01%"}
