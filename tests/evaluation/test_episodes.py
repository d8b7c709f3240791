from __future__ import annotations

import numpy as np
import pytest

from fedmetric.errors import DataError
from fedmetric.evaluation import episodes as module
from fedmetric.evaluation.episodes import draw_episodes, parse_sizes

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(30) * 11 + 2**33, 20))


def test_sizes_are_read_from_their_name() -> None:
    assert parse_sizes("5w1s") == (5, 1)
    assert parse_sizes("20w5s") == (20, 5)


@pytest.mark.parametrize("text", ["5w", "1w1s", "5w0s", "5x1s", "5w1s ", ""])
def test_a_malformed_size_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is not of the form 5w1s"):
        parse_sizes(text)


def test_an_episode_holds_n_classes_and_never_an_image_twice() -> None:
    drawn = draw_episodes(LABELS, 7, 3, 15, 50, seed=1)
    assert drawn.support.shape == (50, 7, 3)
    assert drawn.queries.shape == (50, 7, 15)
    for support, queries in zip(drawn.support, drawn.queries, strict=True):
        rows = np.concatenate([support, queries], axis=1)
        assert len(np.unique(rows)) == rows.size
        assert all(len(set(LABELS[row])) == 1 for row in rows)
        assert len(set(LABELS[support[:, 0]])) == 7


def test_the_same_seed_draws_the_same_and_another_seed_does_not() -> None:
    first, again, other = (draw_episodes(LABELS, 5, 1, 15, 20, seed).support for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_more_episodes_begin_with_the_same_ones() -> None:
    few, many = draw_episodes(LABELS, 5, 1, 15, 10, 1), draw_episodes(LABELS, 5, 1, 15, 40, 1)
    assert np.array_equal(many.queries[:10], few.queries)


def test_drawing_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_episodes(LABELS, 5, 2, 15, 30, 1)
    monkeypatch.setattr(module, "DRAW_ENTRIES", 1)
    parts = draw_episodes(LABELS, 5, 2, 15, 30, 1)
    assert np.array_equal(parts.support, whole.support)
    assert np.array_equal(parts.queries, whole.queries)


def test_renaming_the_classes_in_order_changes_nothing() -> None:
    renamed = np.unique(LABELS, return_inverse=True)[1]
    assert np.array_equal(draw_episodes(renamed, 5, 1, 15, 9, 1).support, draw_episodes(LABELS, 5, 1, 15, 9, 1).support)


def test_every_class_and_every_image_is_drawn_about_equally_often() -> None:
    """3,000 episodes of 5 of 30 classes: each class 500 times; 16 of its 20 images each time: each image 400 times."""
    drawn = draw_episodes(LABELS, 5, 1, 15, 3000, seed=3)
    images = np.bincount(np.concatenate([drawn.support, drawn.queries], axis=2).ravel(), minlength=600)
    assert abs(images - 400).max() < 100
    supports = np.bincount(drawn.support.ravel(), minlength=600)
    assert abs(supports - 25).max() < 25


def test_the_smallest_class_that_can_take_part_sets_the_number_of_queries() -> None:
    """Sizes 20, 20 and 6 with 2 shots leave 4 queries of the smallest; the class of 2 images cannot take part."""
    labels = np.repeat([5, 6, 7, 8], [20, 20, 6, 2])
    drawn = draw_episodes(labels, 3, 2, 15, 8, seed=1)
    assert drawn.queries.shape == (8, 3, 4)
    assert (drawn.excluded_classes, drawn.excluded_images) == (1, 2)
    assert 8 not in labels[drawn.support]


def test_too_few_classes_give_no_episode_and_say_what_was_excluded() -> None:
    drawn = draw_episodes(np.repeat([1, 2, 3], [5, 5, 1]), 3, 1, 15, 8, seed=1)
    assert len(drawn) == 0
    assert (drawn.excluded_classes, drawn.excluded_images) == (1, 1)
    assert len(draw_episodes(np.zeros(0, np.int64), 2, 1, 15, 8, seed=1)) == 0
