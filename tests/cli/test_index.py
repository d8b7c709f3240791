"""`fedmetric index build` and `index search`, as they are typed."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from command import Command
from fedmetric.cli import index_commands
from gallery import draw, draw_folder, write_model


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return a model and a folder of images, named as in the folder the command runs in."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "run" / "model")
    draw_folder(tmp_path / "pictures")
    return "run", "pictures"


def test_a_folder_is_built_updated_and_searched(command: Command, words: tuple[str, str], tmp_path: Path) -> None:
    answer = command("index", "build", *words)
    assert answer.code == 0, answer.err
    assert answer.out.splitlines() == [
        "pictures-index: 7 images, 4 dimensions; 7 embedded, 0 as they were, 0 removed",
        "1 files that are no images were ignored",
    ]
    assert "7 of 7 images" in answer.err
    draw(tmp_path / "pictures" / "g.png", 30)
    assert "8 images, 4 dimensions; 1 embedded, 7 as they were, 0 removed" in command("index", "build", *words).out

    answer = command("index", "search", "pictures-index", "pictures/one/b.png", "pictures/g.png", "--top", "2")
    lines = answer.out.splitlines()
    assert lines[0] == f"8 images of {tmp_path / 'pictures'}; cosine distance, 0 is the same"
    assert (lines[2], lines[3], lines[6], lines[7]) == (
        *("pictures/one/b.png", "   1  0.000  one/b.png"),
        *("pictures/g.png", "   1  0.000  g.png"),
    )
    assert len(lines) == 9


def test_scripts_get_json(command: Command, words: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "pictures" / "bad.png").write_bytes(b"")
    built = json.loads(command("index", "build", *words, "--out", "found", "--json").out)
    assert (built["index"], built["images"], built["dimension"], built["embedded"]) == ("found", 7, 4, 7)
    assert built["skipped"] == [{"path": "bad.png", "reason": "empty file"}]
    found = json.loads(command("index", "search", "found", "pictures/z.png", "--json").out)
    assert (found["root"], found["distance"]) == (str(tmp_path / "pictures"), "cosine")
    assert found["found"][0]["query"] == "pictures/z.png"
    assert [set(hit) for hit in found["found"][0]["hits"]] == [{"path", "distance"}] * 5
    assert found["found"][0]["hits"][0]["path"] == "z.png"


def test_files_that_cannot_be_used_are_counted_and_the_first_are_named(
    command: Command, words: tuple[str, str], tmp_path: Path
) -> None:
    for number in range(7):
        (tmp_path / "pictures" / f"bad{number}.png").write_bytes(b"")
    lines = command("index", "build", *words).out.splitlines()
    assert lines[2:4] == ["7 files cannot be used:", "  bad0.png: empty file"]
    assert lines[-1] == "  and 2 more (--json lists them)"


def test_a_picture_shows_what_was_found(command: Command, words: tuple[str, str], tmp_path: Path) -> None:
    command("index", "build", *words)
    answer = command("index", "search", "pictures-index", "pictures/a.png", "--picture", "found.png")
    assert answer.code == 0, answer.err
    with Image.open(tmp_path / "found.png") as picture:
        assert picture.width > 2 * picture.height
        assert len(picture.convert("L").getcolors()) > 100  # random pixels


def test_names_that_would_change_the_screen_are_escaped(
    command: Command, words: tuple[str, str], tmp_path: Path
) -> None:
    strange = tmp_path / "pictures" / os.fsdecode(b"\x1b[31m $a$b_$ \xff.png")
    draw(strange, 40)
    (tmp_path / "pictures" / "bad\n.png").write_bytes(b"")
    assert "  bad\\n.png: empty file" in command("index", "build", *words).out
    answer = command("index", "search", "pictures-index", str(strange), "--picture", "found.png")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[3] == "   1  0.000  \\x1b[31m $a$b_$ \\udcff.png"
    assert "\x1b" not in answer.out


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(
    command: Command, words: tuple[str, str], tmp_path: Path
) -> None:
    command("index", "build", *words)
    for place, reason in (("gone/found.png", "its folder does not exist"), ("pictures", "is a folder")):
        answer = command("index", "search", "pictures-index", "pictures/a.png", "--picture", place)
        assert answer.code == 2
        assert answer.err == f"fedmetric: --picture {place}: {reason}\n"


def test_a_picture_never_takes_the_place_of_an_image(command: Command, words: tuple[str, str], tmp_path: Path) -> None:
    command("index", "build", *words)
    query = draw(tmp_path / "query.png", 9)
    before = query.read_bytes()
    for place in ("pictures/a.png", "pictures/new.png", "query.png"):
        answer = command("index", "search", "pictures-index", "query.png", "--picture", place)
        assert (answer.code, answer.err) == (
            2,
            f"fedmetric: --picture {place} lies among the images; choose another place\n",
        )
    assert query.read_bytes() == before


def test_a_picture_that_the_disk_refuses_costs_no_answer(command: Command, words: tuple[str, str]) -> None:
    command("index", "build", *words)
    answer = command("index", "search", "pictures-index", "pictures/a.png", "--picture", "/dev/full")
    assert answer.code == 2
    assert "--picture /dev/full cannot be written: " in answer.err
    assert "   1  0.000  a.png" in answer.out


def test_progress_that_nobody_reads_does_not_end_a_build(
    command: Command, words: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for stderr in (Closed(), None):
        monkeypatch.setattr(sys, "stderr", stderr)
        index_commands._show_progress(1, 2)


def test_the_index_of_another_folder_of_this_name_is_not_replaced(
    command: Command, words: tuple[str, str], tmp_path: Path
) -> None:
    command("index", "build", *words)
    draw_folder(tmp_path / "elsewhere" / "pictures")
    answer = command("index", "build", "run", "elsewhere/pictures")
    assert answer.code == 2
    assert f"pictures-index is the index of {tmp_path / 'pictures'}; choose another --out" in answer.err


@pytest.mark.parametrize(
    ("typed", "code", "message"),
    [
        (("index", "search", "pictures", "pictures/a.png"), 2, "pictures holds no finished index; build it with"),
        (("index", "build", "run", "missing"), 4, "missing is no folder of images"),
        (("index", "build", "pictures", "pictures"), 1, "not a model folder"),
        (("index", "build", "run", "pictures", "--out", "run"), 2, "run exists and is no index; choose another --out"),
        (("index", "search", "pictures-index", "gone.png"), 4, "gone.png: "),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    command: Command, words: tuple[str, str], typed: tuple[str, ...], code: int, message: str
) -> None:
    command("index", "build", *words)
    answer = command(*typed)
    assert answer.code == code
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1
