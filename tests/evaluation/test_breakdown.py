from __future__ import annotations

import numpy as np
import pytest

from fedmetric.evaluation.base import Score
from fedmetric.evaluation.breakdown import breakdown
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.retrieval import retrieval_scores
from oracles.geometry import circle, cloud, clusters
from oracles.retrieval import cosine, metrics_of, sorted_relevance


def test_classes_on_a_circle_as_derived_by_hand() -> None:
    """Class 0 at 0, 10, 50 degrees, class 1 at 22, 65, class 2 alone at 300: Recall@1 of 0 is 2/3, of 1 none."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    parts = breakdown(Labelled(circle(0, 10, 50, 22, 65, 300), labels), labels, ["a", "b", "c"])
    assert [(part.name, part.images) for part in parts] == [("a", 3), ("b", 2), ("c", 1)]
    assert [part.scores["recall@1"].mean for part in parts] == [pytest.approx(2 / 3), 0.0, None]
    assert parts[2].scores["map@r"] == Score(None, None, 0, 1)


@pytest.mark.parametrize("num_groups", [1, 4])
def test_each_group_is_the_mean_of_its_own_queries_in_the_whole_gallery(num_groups: int) -> None:
    points, draw = cloud(60, 4, 0), np.random.default_rng(1)
    labels, groups = draw.integers(0, 25, 60) * 2**25, draw.integers(0, num_groups, 60)
    rows = [metrics_of(sorted_relevance(q, points.tolist(), labels.tolist(), cosine)) for q in range(60)]
    parts = breakdown(Labelled(points, labels), groups, [f"g{i}" for i in range(num_groups)])
    assert len(parts) == num_groups
    for number, part in enumerate(parts):
        own = [row for row, group in zip(rows, groups, strict=True) if group == number]
        kept = [row for row in own if row is not None]
        for name in ("recall@1", "map@r"):
            score = part.scores[name]
            assert score.mean == pytest.approx(sum(row[name] for row in kept) / len(kept), abs=1e-6)
            assert (score.n, score.skipped) == (len(kept), len(own) - len(kept))


def test_parts_add_up_to_the_whole() -> None:
    points, labels = clusters(9, 7, 6, 0, spread=1.5)
    parts = breakdown(Labelled(points, labels), labels, [str(i) for i in range(9)])
    whole = retrieval_scores(Labelled(points, labels))
    for name in ("recall@1", "map@r"):
        total = sum((part.scores[name].mean or 0) * part.scores[name].n for part in parts)
        assert total / sum(part.scores[name].n for part in parts) == pytest.approx(whole[name].mean)


def test_groups_without_images_and_no_images_at_all_make_no_part() -> None:
    parts = breakdown(Labelled(cloud(4, 2, 0), np.array([0, 0, 1, 1])), np.array([2, 2, 0, 0]), ["a", "b", "c"])
    assert [part.name for part in parts] == ["a", "c"]
    assert breakdown(Labelled(cloud(0, 0, 0), np.zeros(0, np.int64)), np.zeros(0, np.int64), ["a"]) == []
