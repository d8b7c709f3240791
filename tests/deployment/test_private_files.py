from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmetric.deployment.private_files import is_private, write_private


@pytest.fixture
def generous() -> Iterator[None]:
    """Let new files be readable by all, were it not for the mode that is asked for."""
    earlier = os.umask(0)
    yield
    os.umask(earlier)


@pytest.mark.usefixtures("generous")
def test_only_the_owner_may_read_the_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", b"one")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert is_private(tmp_path / "secret")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.usefixtures("generous")
def test_a_file_that_all_could_read_becomes_private_with_its_new_content(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"old and long")
    assert not is_private(tmp_path / "secret")
    write_private(tmp_path / "secret", b"new")
    assert (tmp_path / "secret").read_bytes() == b"new"
    assert is_private(tmp_path / "secret")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o601])
def test_any_right_of_others_makes_a_file_not_private(mode: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    assert not is_private(tmp_path / "file")


@pytest.mark.usefixtures("generous")
def test_at_no_moment_may_others_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda stream: (seen.append(os.fstat(stream).st_mode & 0o777), flush(stream)))
    write_private(tmp_path / "secret", b"x")
    assert seen == [0o600]


def test_what_a_killed_process_left_is_replaced_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"keep")
    (tmp_path / ".secret.writing").symlink_to(tmp_path / "other")
    write_private(tmp_path / "secret", b"new")
    assert (tmp_path / "other").read_bytes() == b"keep"
    assert (tmp_path / "secret").read_bytes() == b"new"
    assert not (tmp_path / "secret").is_symlink()


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_private(tmp_path / "secret", b"old")

    def full(stream: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_private(tmp_path / "secret", b"new")
    assert (tmp_path / "secret").read_bytes() == b"old"
