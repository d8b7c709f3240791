from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.evaluation import fewshot as module
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.episodes import Episodes, draw_episodes
from fedmetric.evaluation.fewshot import episode_accuracies, few_shot
from fedmetric.evaluation.labelled import Labelled
from oracles.fewshot import episode_accuracy
from oracles.geometry import circle, cloud, clusters


def test_queries_on_a_circle_go_to_the_nearest_prototype() -> None:
    """Supports at 0 and 20 make a prototype at 10 degrees, those at 80 and 100 one at 90: the border is at 50.

    Of the first class's queries at 30, 49 and 51 two are right; of the second's at 52, 120 and 40 two: 4/6.
    """
    data = Labelled(circle(0, 20, 30, 49, 51, 80, 100, 52, 120, 40), np.repeat([0, 1], 5))
    episode = Episodes(np.array([[[0, 1], [5, 6]]]), np.array([[[2, 3, 4], [7, 8, 9]]]), 0, 0)
    for distance in ("cosine", "euclidean"):
        assert episode_accuracies(data, episode, distance).tolist() == pytest.approx([4 / 6])


def test_cosine_ignores_lengths_that_mislead_euclidean_prototypes() -> None:
    """Prototypes 10 at 0 degrees and 1 at 90; a query of 1 at 10 degrees is nearer to the short one in distance."""
    points = torch.cat([10 * circle(0), circle(10), circle(90), circle(80)])
    episode = Episodes(np.array([[[0], [2]]]), np.array([[[1], [3]]]), 0, 0)
    data = Labelled(points, np.array([0, 0, 1, 1]))
    assert episode_accuracies(data, episode, "cosine").tolist() == [1.0]
    assert episode_accuracies(data, episode, "euclidean").tolist() == [0.5]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n_way", "n_shot"), [(2, 1), (5, 1), (5, 5)])
def test_every_episode_scores_as_one_query_at_a_time(distance, n_way: int, n_shot: int) -> None:
    points, labels = clusters(9, 12, 6, 2, spread=1.5)
    episodes = draw_episodes(labels, n_way, n_shot, 6, 12, seed=5)
    got = episode_accuracies(Labelled(points, labels), episodes, distance)
    for value, support, queries in zip(got, episodes.support, episodes.queries, strict=True):
        assert value == pytest.approx(episode_accuracy(points.numpy(), support, queries, distance), abs=1e-6)


def test_separated_clusters_are_never_confused() -> None:
    points, labels = clusters(8, 10, 32, 0, spread=0.01)
    assert few_shot(Labelled(points, labels), 5, 1, n_episodes=100, seed=1) == Score(1.0, 0.0, 100)


@pytest.mark.parametrize(("n_way", "n_shot"), [(5, 1), (5, 5), (20, 1)])
def test_embeddings_that_know_nothing_score_one_over_n(n_way: int, n_shot: int) -> None:
    data = Labelled(cloud(4000, 16, 0), np.repeat(np.arange(200), 20))
    score = few_shot(data, n_way, n_shot, n_episodes=400, seed=1)
    assert score.mean is not None
    assert score.ci95 is not None
    assert abs(score.mean - 1 / n_way) < 2.5 * score.ci95
    assert score.ci95 < 0.02


def test_a_collapsed_encoder_scores_exactly_one_over_n() -> None:
    data = Labelled(torch.full((200, 3), 0.3), np.repeat(np.arange(10), 20))
    assert few_shot(data, 5, 5, n_episodes=50, seed=1).mean == pytest.approx(0.2)


def test_more_shots_help_and_more_ways_hurt() -> None:
    points, labels = clusters(40, 20, 8, 1, spread=1.0)
    data = Labelled(points, labels)
    one, five, many = (few_shot(data, n, k, n_episodes=100, seed=1).mean for n, k in ((5, 1), (5, 5), (20, 1)))
    assert one is not None
    assert five is not None
    assert many is not None
    assert five > one > many


def test_the_same_seed_gives_the_same_score() -> None:
    points, labels = clusters(10, 20, 8, 1, spread=2.0)
    data = Labelled(points, labels)
    assert few_shot(data, 5, 1, n_episodes=30, seed=1) == few_shot(data, 5, 1, n_episodes=30, seed=1)
    assert few_shot(data, 5, 1, n_episodes=30, seed=1) != few_shot(data, 5, 1, n_episodes=30, seed=2)


def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points, labels = clusters(10, 20, 8, 1, spread=1.0)
    data = Labelled(points, labels)
    whole = few_shot(data, 5, 1, n_episodes=40, seed=1)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    assert few_shot(data, 5, 1, n_episodes=40, seed=1) == whole


def test_the_interval_is_over_episodes() -> None:
    points, labels = clusters(10, 20, 8, 1, spread=2.0)
    data = Labelled(points, labels)
    values = episode_accuracies(data, draw_episodes(labels, 5, 1, 15, 64, 1))
    score = few_shot(data, 5, 1, n_episodes=64, seed=1)
    assert score.n == 64
    assert score.ci95 == pytest.approx(1.96 * values.std(ddof=1) / 8)


def test_too_few_classes_are_null_and_their_images_counted() -> None:
    data = Labelled(cloud(11, 3, 0), np.repeat([1, 2, 3], [5, 5, 1]))
    assert few_shot(data, 5, 1, seed=1) == Score(None, None, 0, 1)
    assert few_shot(data, 2, 1, n_episodes=4, seed=1).skipped == 1
