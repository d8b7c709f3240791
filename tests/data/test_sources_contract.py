"""What every registered source must do; those without files of their own are run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmetric.data.base import Dataset, Source
from fedmetric.data.cache import load_dataset
from fedmetric.errors import DataError
from fedmetric.registry import sources

EMBEDDED = ("digits", "glyphs")
NAMES = sorted(sources)


@pytest.fixture(scope="module", params=EMBEDDED)
def embedded(request: pytest.FixtureRequest) -> Dataset:
    return load_dataset(sources[request.param].options(), 16)


def test_the_embedded_sets_are_registered() -> None:
    assert set(EMBEDDED) <= set(NAMES)


def test_images_have_the_size_asked_for(embedded: Dataset) -> None:
    assert embedded.train.images.shape[1:] == embedded.held_out.images.shape[1:] == (16, 16, 1)


def test_every_class_has_images_and_no_image_is_blank(embedded: Dataset) -> None:
    for images in (embedded.train, embedded.held_out):
        assert images.present_classes() == images.classes
        assert len(images.classes) == len(set(images.classes))
        assert images.images.reshape(len(images), -1).max(axis=1).min() > 0


def test_held_out_classes_are_never_trained_on(embedded: Dataset) -> None:
    assert not set(embedded.train.classes) & set(embedded.held_out.classes)
    assert len(embedded.held_out.classes) >= 4


def test_groupings_of_training_name_every_image(embedded: Dataset) -> None:
    for grouping in embedded.train.groupings.values():
        assert grouping.codes.shape == (len(embedded.train),)
        assert set(np.unique(grouping.codes)) == set(range(len(grouping.names)))


@pytest.mark.parametrize("name", NAMES)
def test_every_source_states_its_options_with_a_description(name: str) -> None:
    fields = {key: field for key, field in sources[name].options.model_fields.items() if key != "name"}
    assert [key for key, field in fields.items() if not field.description] == []
    assert sources[name].summary


@pytest.mark.parametrize("name", [name for name in NAMES if name not in EMBEDDED])
def test_a_source_without_a_data_folder_says_how_to_name_one(name: str) -> None:
    source: Source = sources.build(sources[name].options(), None)
    with pytest.raises(DataError, match="give --data DIR or set FEDMETRIC_DATA"):
        source.key()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in EMBEDDED])
def test_a_source_with_an_empty_data_folder_names_it(name: str, tmp_path: Path) -> None:
    source: Source = sources.build(sources[name].options(), tmp_path)
    with pytest.raises(DataError) as caught:
        source.key()
    assert tmp_path.name in str(caught.value)
