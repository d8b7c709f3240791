"""What a client whose images are its own tells of a failure: one word, and where its own log says more."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from canary import WORD, answer, asking, context_of, failure, whole, write_images

from fedmetric.clients import premises
from fedmetric.clients.app import app
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.office import found_office
from fedmetric.wire import request_message
from tiny import tiny

QUIET = r"; the site's log says more under ([0-9a-f]{8})"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / f"ward {WORD}" / "images")


@pytest.fixture
def home(tmp_path: Path, folder: Path) -> Home:
    invite = found_office(tmp_path / "deployment", "clinics", ["127.0.0.1"]).invite("north")
    return settle(tmp_path / f"home {WORD}", invite, folder)


def empty_some(folder: Path) -> None:
    for path in folder.rglob(f"{WORD}-0.png"):
        path.write_bytes(b"")


def nest(folder: Path) -> None:
    write_images(folder / WORD)


def keep_one(folder: Path) -> None:
    for path in sorted(folder.rglob("*.png"))[1:]:
        path.unlink()


def remove_all(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "kind", "logged"),
    [
        (empty_some, "DataError", f"{WORD}-0.png: empty file"),
        (nest, "DataError", f"{WORD}-0/{WORD}-0.png"),
        (keep_one, "ConfigError", "too few for the statistics of BatchNorm"),
        (remove_all, "DataError", "no images"),
        (lambda folder: folder.rename(folder.with_name("gone")), "DataError", "is no folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_word_and_explained_in_the_log(
    change: Callable[[Path], object], kind: str, logged: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(folder)
    told = failure(answer(asking(), {"data-path": str(folder)}))
    assert told.stage == "data"
    mark = re.fullmatch(kind + QUIET, told.error)
    assert mark, told.error
    assert mark[1] in caplog.text
    assert logged in caplog.text


def test_that_a_class_is_evaluated_is_told_in_one_word_and_explained_in_the_log(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = asking(None, f"{WORD}-1")
    context = context_of({"data-path": str(folder)})
    reply = app(request_message(request, 2), context)
    assert WORD.encode() not in whole(reply)
    assert re.fullmatch("DataError" + QUIET, failure(reply).error)
    assert f"1 classes are evaluated by the server and must not be trained on: {WORD}-1" in caplog.text


def test_a_failure_in_training_is_told_in_one_word(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    request = replace(asking(), shared={WORD[::-1]: np.zeros(1, np.float32)})
    told = failure(answer(request, {"data-path": str(folder)}))
    assert told.stage == "training"
    assert re.fullmatch(r"\w+Error" + QUIET, told.error)
    assert "unexpected arrays" in caplog.text


def test_how_many_classes_a_client_has_now_and_had_is_not_told_when_its_memory_fits_no_more(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"data-path": str(folder), "state-dir": str(tmp_path / "memory")}
    request = asking(tiny("objective={name='proxy-nca'}"))
    assert answer(request, config).has_content()
    write_images(folder, classes=5)
    premises._own.cache_clear()  # a SuperNode starts a new process for every message
    told = failure(answer(replace(request, round=2), config))
    assert told.stage == "training"
    assert re.fullmatch(r"\w+Error" + QUIET, told.error), told.error
    assert re.search(r"the client's own state: .*\(3, .* expected .*\(5,", caplog.text)


@pytest.mark.parametrize("change", ["nonsense", "limits.epoch = 3", "limits = 3", "", None])
def test_settings_that_cannot_be_read_are_told_in_one_word(change: str | None, home: Home) -> None:
    place = home.folder / "site.toml"
    if change is None:
        place.unlink()
    else:
        place.write_text(place.read_text().replace("[limits]\n", "") + change if change else "")
    told = failure(answer(asking(), {"site": str(home.folder)}))
    assert told.stage == "request"
    assert re.fullmatch("UsageError" + QUIET, told.error), told.error


def test_a_request_that_cannot_be_read_is_told_in_full(folder: Path) -> None:
    message = request_message(asking(), 2)
    message.content.config_records["config"]["protocol"] = 99
    told = failure(app(message, context_of({"data-path": str(folder)})))
    assert told.error.startswith("ProtocolError: the server speaks protocol 99, this client 4")
