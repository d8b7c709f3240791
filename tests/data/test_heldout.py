"""Validation classes kept from every client."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from fedmetric.data.base import Dataset, ImageSet
from fedmetric.data.heldout import training_and_fold, training_and_validation
from fedmetric.errors import ConfigError

MakeSet = Callable[..., ImageSet]


@pytest.fixture
def alphabets(make_set: MakeSet) -> Dataset:
    """Return 12 classes in 4 alphabets of 3, each class drawn by the same 5 people."""
    labels = [c for c in range(12) for _ in range(5)]
    train = make_set(labels, 12, alphabet=[c // 3 for c in labels], drawer=[i % 5 for i in range(60)])
    return Dataset(train, make_set([], 0))


def test_a_share_of_zero_keeps_everything_for_training(alphabets: Dataset) -> None:
    train, validation = training_and_validation(alphabets, 0.0, None, seed=1)
    assert train is alphabets.train
    assert len(validation) == 0
    assert validation.classes == train.classes


@pytest.mark.parametrize("grouping", [None, "", "alphabet", "drawer", "unheard-of"])
def test_whole_alphabets_are_taken_whatever_the_partition(grouping: str | None, alphabets: Dataset) -> None:
    train, validation = training_and_validation(alphabets, 0.25, grouping, seed=1)
    assert len(np.unique(validation.groupings["alphabet"].codes)) == 1
    assert len(validation) == 15
    assert len(train) == 45


def test_trained_and_validated_classes_are_disjoint_and_cover_all(alphabets: Dataset) -> None:
    for seed in range(10):
        train, validation = training_and_validation(alphabets, 0.5, None, seed)
        assert not set(train.present_classes()) & set(validation.present_classes())
        assert set(train.present_classes()) | set(validation.present_classes()) == set(alphabets.train.classes)


def test_equal_seeds_agree_and_others_differ(alphabets: Dataset) -> None:
    chosen = [training_and_validation(alphabets, 0.25, None, s)[1].present_classes() for s in (1, 1, 2, 3, 4, 5)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


def test_groups_that_share_classes_give_way_to_single_classes(make_set: MakeSet) -> None:
    images = make_set([0, 1, 2, 3] * 5, 4, writer=[i // 4 for i in range(20)])
    train, validation = training_and_validation(Dataset(images, make_set([], 0)), 0.25, "writer", seed=1)
    assert len(validation.present_classes()) == 1
    assert len(train.present_classes()) == 3
    assert len(np.unique(train.groupings["writer"].codes)) == 5


def test_a_small_share_still_takes_one(alphabets: Dataset) -> None:
    assert len(training_and_validation(alphabets, 0.01, None, 1)[1].present_classes()) == 3


def test_a_share_that_leaves_nothing_is_refused(alphabets: Dataset) -> None:
    with pytest.raises(ConfigError, match="takes 4 of 4 groups by alphabet of hand-made and leaves none to train on"):
        training_and_validation(alphabets, 1.0, None, 1)


def test_where_only_some_images_have_labels_nothing_is_validated_on(make_set: MakeSet) -> None:
    with pytest.raises(ConfigError, match=r"validation_classes = 0\.2 needs labels, but only some .*set it to 0"):
        training_and_validation(Dataset(make_set([0, -1], 1), make_set([], 0)), 0.2, None, 1)


def test_where_no_image_has_a_label_single_images_are_kept_away(make_set: MakeSet) -> None:
    images = make_set([-1] * 10, 0)
    numbered = dataclasses.replace(images, images=images.images + np.arange(10, dtype=np.uint8)[:, None, None, None])
    dataset = Dataset(numbered, make_set([], 0))
    train, validation = training_and_validation(dataset, 0.3, None, seed=1)
    assert (len(train), len(validation)) == (7, 3)
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in validation.images}
    assert [len(training_and_fold(dataset, 4, fold, None, seed=1)[1]) for fold in range(4)] == [3, 3, 2, 2]


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_every_class_is_validated_in_exactly_one_fold(folds: int, alphabets: Dataset) -> None:
    seen: list[str] = []
    for fold in range(folds):
        train, validation = training_and_fold(alphabets, folds, fold, None, seed=1)
        assert not set(train.present_classes()) & set(validation.present_classes())
        assert len(train) + len(validation) == 60
        assert len(np.unique(validation.groupings["alphabet"].codes)) == len(validation) / 15  # whole alphabets
        seen += validation.present_classes()
    assert sorted(seen) == sorted(alphabets.train.classes)


def test_another_seed_deals_other_folds(alphabets: Dataset) -> None:
    chosen = [training_and_fold(alphabets, 4, 0, None, s)[1].present_classes() for s in (1, 1, 2, 3, 4, 5)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


def test_more_folds_than_groups_are_refused(alphabets: Dataset) -> None:
    with pytest.raises(ConfigError, match="validation_folds = 5, but .* has 4 groups by alphabet; lower it"):
        training_and_fold(alphabets, 5, 0, None, seed=1)
