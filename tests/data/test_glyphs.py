"""The embedded data set: its characters exist, differ, fit, and are not learned in disguise."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from fedmetric.data.base import Allocate, Dataset
from fedmetric.data.characters import FAMILIES, HELD_OUT, LEARNED, class_names, font_files
from fedmetric.data.drawing import NO_JITTER, Jitter, draw_character, open_face, oversampling, vary
from fedmetric.data.sources.glyphs import Glyphs

CHARACTERS = class_names(LEARNED) + class_names(HELD_OUT)
WILD = Jitter(rotation=180.0, shear=1.0, scale=1.0, shift=1.0)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Glyphs(None).read(28, lambda split, shape: np.zeros(shape, dtype=np.uint8))


def plain(character: str, face: str) -> np.ndarray:
    """Draw without jitter."""
    ink = draw_character(character, open_face(font_files()[face], 28))
    return vary(ink, 28, NO_JITTER, np.random.default_rng(0))


@pytest.mark.parametrize("face", sorted(font_files()))
def test_every_face_has_every_character(face: str) -> None:
    from matplotlib.ft2font import FT2Font

    known = FT2Font(str(font_files()[face])).get_charmap()
    assert [character for _, character in CHARACTERS if ord(character) not in known] == []


@pytest.mark.parametrize("face", ["DejaVuSans", "DejaVuSansMono-BoldOblique", "DejaVuSerif-Italic", "STIXGeneral"])
def test_no_two_characters_are_drawn_alike_and_none_as_the_box_for_missing_ones(face: str) -> None:
    drawings = {name: plain(character, face).tobytes() for name, character in CHARACTERS}
    drawings["missing"] = plain("\U000f0000", face).tobytes()
    assert len(set(drawings.values())) == len(CHARACTERS) + 1


def test_no_character_is_both_learned_and_held_out() -> None:
    learned = {character for _, character in class_names(LEARNED)}
    held_out = {character for _, character in class_names(HELD_OUT)}
    assert not learned & held_out
    assert len(learned) == 81
    assert len(held_out) == 23


def test_no_held_out_letter_is_a_learned_one_with_a_mark_or_in_the_other_case() -> None:
    learned = {character for _, character in class_names(LEARNED)}
    for character in HELD_OUT["Cyrillic"]:
        forms = {unicodedata.normalize("NFD", character)[0], character.lower(), character.upper()}
        assert not forms & learned, character


def test_no_held_out_shape_is_nearly_a_learned_one() -> None:
    """Compare drawings of one face by correlation: a look-alike such as Cyrillic Е and Latin E would give 1."""
    for face in ("DejaVuSans", "DejaVuSerif-Bold", "STIXGeneral"):
        learned, held_out = (
            np.stack([plain(character, face).astype(float).ravel() for _, character in class_names(scripts)])
            for scripts in (LEARNED, HELD_OUT)
        )
        learned, held_out = (v - v.mean(axis=1, keepdims=True) for v in (learned, held_out))
        learned, held_out = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (learned, held_out))
        assert (held_out @ learned.T).max() < 0.95


def test_the_counts_are_those_that_episodes_need(dataset: Dataset) -> None:
    assert dataset.train.images.shape == (81 * 16 * 4, 28, 28, 1)
    assert dataset.held_out.images.shape == (23 * 16 * 2, 28, 28, 1)
    assert set(np.bincount(dataset.train.labels)) == {64}
    assert set(np.bincount(dataset.held_out.labels)) == {32}


def test_no_two_images_are_equal(dataset: Dataset) -> None:
    for images in (dataset.train, dataset.held_out):
        assert len(np.unique(images.images.reshape(len(images), -1), axis=0)) == len(images)


def test_nothing_is_clipped_and_ink_is_white(dataset: Dataset) -> None:
    for images in (dataset.train.images, dataset.held_out.images):
        frame = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
        assert frame.max() == 0
        assert images.reshape(len(images), -1).max(axis=1).min() > 128
        assert 0.03 < images.mean() / 255 < 0.35


def test_families_are_the_natural_clients_and_share_all_classes(dataset: Dataset) -> None:
    assert list(dataset.train.groupings) == ["family", "face"]
    family = dataset.train.groupings["family"]
    assert set(family.names) == set(FAMILIES)
    for code in range(4):
        assert len(np.unique(dataset.train.labels[family.codes == code])) == 81
    assert len(dataset.train.groupings["face"].names) == 16


def test_the_seed_decides_every_pixel(allocate: Allocate) -> None:
    first, again, other = (Glyphs(None, copies=1, held_out_copies=1, seed=s).read(12, allocate) for s in (0, 0, 1))
    assert np.array_equal(first.train.images, again.train.images)
    assert not np.array_equal(first.train.images, other.train.images)


@pytest.mark.parametrize("image_size", [8, 28, 100, 200])
def test_even_wild_variations_stay_inside_the_picture(image_size: int) -> None:
    ink = draw_character("Щ", open_face(font_files()["DejaVuSerif-Bold"], image_size))
    for seed in range(20):
        image = vary(ink, image_size, WILD, np.random.default_rng(seed))
        assert image.shape == (image_size, image_size)
        assert image[[0, -1]].max() == image[:, [0, -1]].max() == 0


def test_without_jitter_the_character_is_centred() -> None:
    image = plain("Ж", "DejaVuSans").astype(float)
    rows, columns = np.flatnonzero(image.sum(axis=1)), np.flatnonzero(image.sum(axis=0))
    assert abs((rows[0] + rows[-1]) / 2 - 13.5) <= 0.5
    assert abs((columns[0] + columns[-1]) / 2 - 13.5) <= 0.5


def test_rotation_turns_by_the_angle_given() -> None:
    """A vertical bar turned by exactly a quarter: the generator is made to return the largest deviation."""

    class Largest(np.random.Generator):
        def uniform(self, *args: object, **kwargs: object) -> np.ndarray:  # type: ignore[override]
            return np.array([1.0, 0.0, 0.0, 0.0, 0.0])

    ink = draw_character("I", open_face(font_files()["DejaVuSans"], 28))
    upright = vary(ink, 28, NO_JITTER, np.random.default_rng(0)).astype(int)
    turned = vary(ink, 28, Jitter(90.0, 0.0, 0.0, 0.0), Largest(np.random.PCG64(0))).astype(int)
    assert np.abs(np.rot90(upright) - turned).mean() < 8


@pytest.mark.parametrize(("image_size", "factor"), [(8, 14), (28, 4), (64, 1), (112, 1), (512, 1)])
def test_small_pictures_are_drawn_large_and_averaged(image_size: int, factor: int) -> None:
    assert oversampling(image_size) == factor


def test_the_key_names_what_draws_the_pixels() -> None:
    assert Glyphs(None).key().startswith("glyphs 1, matplotlib ")
    assert "pillow" in Glyphs(None).key()
