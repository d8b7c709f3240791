"""Building an index, bringing it up to date, and what happens when that is interrupted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fedmetric.errors import DataError, FedmetricError, UsageError
from fedmetric.export import load_model
from fedmetric.index import Index, build, build_index
from fedmetric.index.build import stamps_of
from fedmetric.index.embedding import FileEncoder
from fedmetric.index.rows import Stamp
from fedmetric.index.store import Store
from gallery import NAMES, draw, draw_folder, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return draw_folder(tmp_path / "pictures")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of the files that are embedded from now on."""
    seen: list[str] = []
    real = FileEncoder.read

    def read(self: FileEncoder, path: Path) -> object:
        seen.append(path.name)
        return real(self, path)

    monkeypatch.setattr(FileEncoder, "read", read)
    return seen


def test_every_image_is_embedded_as_the_model_embeds_it(model: Path, pictures: Path, tmp_path: Path) -> None:
    built = build_index(model, pictures, tmp_path / "index")
    assert (built.images, built.embedded, built.kept, built.removed, built.skipped) == (7, 7, 0, 0, ())
    assert built.notes == ("1 files that are no images were ignored",)
    index = Index.open(tmp_path / "index")
    assert [stamp.path for stamp in index.rows.stamps] == list(NAMES)
    assert (len(index), index.root, index.invert) == (7, pictures, False)
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(pictures / name)))[None] for name in NAMES])
    expected = load_model(model).embedder.embed(pixels.float() / 255)
    assert built.dimension == expected.shape[1]
    assert torch.allclose(torch.from_numpy(index.rows.vectors), expected, atol=1e-6)


def test_the_second_build_embeds_what_is_new_or_has_changed(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str]
) -> None:
    build_index(model, pictures, tmp_path / "index")
    draw(pictures / "one" / "new.png", 50)
    (pictures / "z.png").unlink()
    before = (pictures / "a.png").stat()
    pixels = np.array(Image.open(pictures / "one" / "c.pgm"))
    draw(pictures / "one" / "c.pgm", 60)
    os.utime(pictures / "one" / "c.pgm", ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert not np.array_equal(pixels, np.array(Image.open(pictures / "one" / "c.pgm")))
    embedded.clear()
    built = build_index(model, pictures, tmp_path / "index")
    assert sorted(embedded) == ["c.pgm", "new.png"]
    assert (built.images, built.embedded, built.kept, built.removed) == (7, 2, 5, 2)
    build_index(model, pictures, tmp_path / "fresh")
    updated, fresh = Index.open(tmp_path / "index").rows, Index.open(tmp_path / "fresh").rows
    assert updated.stamps == fresh.stamps
    assert np.allclose(updated.vectors, fresh.vectors, atol=1e-6)


def test_two_builds_of_the_same_images_are_equal_to_the_last_bit(model: Path, pictures: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_index(model, pictures, tmp_path / name)
    assert (tmp_path / "one" / "index.json").read_bytes() == (tmp_path / "two" / "index.json").read_bytes()


def test_an_interrupted_build_goes_on_where_it_was(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "PART", 2)

    def stop(done: int, wanted: int) -> None:
        assert wanted == 7
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(model, pictures, tmp_path / "index", listen=stop)
    with pytest.raises(UsageError, match="holds no finished index; build it with 'fedmetric index build'"):
        Index.open(tmp_path / "index")
    embedded.clear()
    built = build_index(model, pictures, tmp_path / "index")
    assert embedded == ["e.png", "f.png", "z.png"]
    assert (built.images, built.embedded, built.kept, built.removed) == (7, 3, 4, 0)
    assert [stamp.path for stamp in Index.open(tmp_path / "index").rows.stamps] == list(NAMES)
    assert not list((tmp_path / "index").glob("unfinished-*"))


@pytest.mark.parametrize("change", ["weights", "evaluation", "invert"])
def test_another_model_or_another_reading_embeds_everything_anew(
    pictures: Path, tmp_path: Path, embedded: list[str], change: str
) -> None:
    build_index(write_model(tmp_path / "model"), pictures, tmp_path / "index")
    before = Index.open(tmp_path / "index").rows
    other = write_model(
        tmp_path / "other",
        text="evaluation = {mirror = true}" if change == "evaluation" else "",
        seed=8 if change == "weights" else 7,
    )
    embedded.clear()
    built = build_index(other, pictures, tmp_path / "index", invert=True if change == "invert" else None)
    assert (built.embedded, built.kept, built.removed, len(embedded)) == (7, 0, 0, 7)
    index = Index.open(tmp_path / "index")
    assert not np.allclose(index.rows.vectors, before.vectors, atol=1e-4)
    assert index.invert == (change == "invert")


def test_images_of_another_folder_are_never_taken_for_these(
    model: Path, pictures: Path, tmp_path: Path, embedded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a finished index nor the parts of an interrupted build serve another folder with equal stamps."""
    monkeypatch.setattr(Stamp, "of", lambda path, root: Stamp(path.relative_to(root).as_posix(), 1, 1))
    draw_folder(tmp_path / "others")
    build_index(model, pictures, tmp_path / "index")
    with pytest.raises(UsageError, match=f"is the index of {pictures}; choose another --out, or remove it"):
        build_index(model, tmp_path / "others", tmp_path / "index")
    monkeypatch.setattr(build, "PART", 3)

    def stop(done: int, wanted: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(model, pictures, tmp_path / "new", listen=stop)
    embedded.clear()
    assert build_index(model, tmp_path / "others", tmp_path / "new").kept == 0
    assert len(embedded) == 7


def test_an_index_that_would_be_the_folder_of_the_images_is_refused(model: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match="is the folder of the images; choose another --out"):
        build_index(model, pictures, pictures.parent / "pictures")
    assert not list(pictures.glob(".fedmetric*"))


def test_the_model_of_an_index_is_the_one_of_its_embeddings_whatever_happens_to_the_run(
    model: Path, pictures: Path, tmp_path: Path
) -> None:
    build_index(model, pictures, tmp_path / "index", listen=lambda *_: str(write_model(model, seed=8)))
    index = Index.open(tmp_path / "index")
    assert index.search(index.embed([pictures / "a.png"]), 1)[0][0].distance < 1e-6


def test_an_index_may_lie_in_the_folder_of_the_model(model: Path, pictures: Path) -> None:
    for _ in range(2):
        build_index(model, pictures, model / "pictures-index")
    assert len(Index.open(model / "pictures-index")) == 7


def test_rows_that_were_lost_are_embedded_anew(model: Path, pictures: Path, tmp_path: Path) -> None:
    build_index(model, pictures, tmp_path / "index")
    next((tmp_path / "index").glob("rows-*")).unlink()
    assert build_index(model, pictures, tmp_path / "index").embedded == 7
    assert len(Index.open(tmp_path / "index")) == 7


def test_an_image_that_the_model_gives_no_direction_is_passed_over(model: Path, pictures: Path, tmp_path: Path) -> None:
    Image.new("L", (16, 16), 0).save(pictures / "black.png")
    black = load_model(model).embedder.embed(torch.zeros(1, 1, 16, 16))
    assert not black.any(), "the picture of this test is to be one without a direction"
    built = build_index(model, pictures, tmp_path / "index")
    assert built.images == 7
    assert [(item.path, item.reason[:33]) for item in built.skipped] == [
        ("black.png", "the model gives it no direction: ")
    ]


def test_a_file_that_became_a_link_out_of_the_folder_is_taken_out(model: Path, pictures: Path, tmp_path: Path) -> None:
    build_index(model, pictures, tmp_path / "index")
    (pictures / "z.png").rename(tmp_path / "z.png")
    (pictures / "z.png").symlink_to(tmp_path / "z.png")
    built = build_index(model, pictures, tmp_path / "index")
    assert (built.images, built.removed) == (6, 1)
    assert built.skipped[0].reason == "a link out of the folder"


def test_a_folder_whose_name_is_no_text_is_refused(model: Path, tmp_path: Path) -> None:
    root = draw_folder(tmp_path / os.fsdecode(b"\xff pictures"))
    with pytest.raises(DataError, match="is not UTF-8; rename it, or link to it"):
        build_index(model, root, tmp_path / "index")


def test_mirror_images_take_part_where_the_model_was_evaluated_so(pictures: Path, tmp_path: Path) -> None:
    with Image.open(pictures / "a.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures / "mirror.png")
    build_index(write_model(tmp_path / "model", "evaluation = {mirror = true}"), pictures, tmp_path / "index")
    index = Index.open(tmp_path / "index")
    hits = index.search(index.embed([pictures / "mirror.png"]), 3)[0]
    assert [hit.path for hit in hits[:2]] == ["a.png", "mirror.png"]
    assert hits[1].distance < 1e-6 < hits[2].distance


def test_files_that_cannot_be_used_are_passed_over_and_told(model: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.png").write_bytes(b"no picture")
    outside = draw(tmp_path / "outside.png", 1)
    (pictures / "link.png").symlink_to(outside)
    (pictures / "nowhere.png").symlink_to(tmp_path / "gone")
    built = build_index(model, pictures, tmp_path / "index")
    assert built.images == 7
    told = {item.path: item.reason for item in built.skipped}
    assert told["link.png"] == "a link out of the folder"
    assert told["nowhere.png"] == "a link that leads nowhere"
    assert "cannot be decoded" in told["broken.png"]
    again = build_index(model, pictures, tmp_path / "index")
    assert (again.images, again.embedded, again.kept) == (7, 0, 7)


def test_a_file_that_goes_while_the_folder_is_listed_is_passed_over(pictures: Path) -> None:
    gone = pictures / "one" / "gone.png"
    stamps, unusable = stamps_of([pictures / "z.png", gone, pictures / "a.png"], pictures)
    assert [stamp.path for stamp in stamps] == ["a.png", "z.png"]
    assert [item.path for item in unusable] == ["one/gone.png"]


def test_folders_without_a_usable_image_are_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image can be used; there is none"):
        build_index(model, tmp_path / "empty", tmp_path / "index")
    (tmp_path / "empty" / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match="no image can be used; bad.png: empty file"):
        build_index(model, tmp_path / "empty", tmp_path / "index")
    assert not list((tmp_path / "index").glob("rows-*"))
    with pytest.raises(DataError, match="gone is no folder of images"):
        build_index(model, tmp_path / "gone", tmp_path / "index")


def test_what_is_no_model_is_refused_before_anything_is_written(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(FedmetricError, match="not a model folder"):
        build_index(pictures, pictures, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_an_index_inside_the_folder_of_images_does_not_disturb_them(model: Path, pictures: Path) -> None:
    for _ in range(2):
        built = build_index(model, pictures, pictures / "index")
    assert (built.images, built.kept) == (7, 7)
    assert Store(pictures / "index").about() is not None
