"""Downloads happen only when the command line allowed them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmetric.data import download
from fedmetric.data.sources.cifar10 import Cifar10
from fedmetric.data.sources.idx import Mnist
from fedmetric.data.sources.omniglot import Omniglot
from fedmetric.errors import DataError
from fedmetric.registry import sources


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    made: list[tuple[str, Path]] = []
    monkeypatch.setattr(download, "fetch", lambda name, root: made.append((name, root)))
    return made


@pytest.mark.parametrize("value", [None, "", "0", "yes"])
def test_without_the_flag_nothing_is_fetched(
    value: str | None, calls: list[tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv("FEDMETRIC_ALLOW_DOWNLOAD", value)
    with pytest.raises(DataError, match=r"mnist: not found; looked for .* with --allow-download"):
        Mnist(tmp_path).key()
    assert calls == []


@pytest.mark.parametrize(("source", "name"), [(Mnist, "mnist"), (Cifar10, "cifar10"), (Omniglot, "omniglot")])
def test_with_the_flag_the_set_is_fetched_into_the_data_folder_once(
    source: type[Mnist] | type[Cifar10] | type[Omniglot],
    name: str,
    calls: list[tuple[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FEDMETRIC_ALLOW_DOWNLOAD", "1")
    with pytest.raises(DataError, match="still missing"):
        source(tmp_path).key()
    assert calls == [(name, tmp_path)]


def test_a_failed_download_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, root: Path) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(download, "fetch", fail)
    monkeypatch.setenv("FEDMETRIC_ALLOW_DOWNLOAD", "1")
    with pytest.raises(DataError, match=r"mnist: the download into .* failed: no route to host"):
        Mnist(tmp_path).key()


@pytest.mark.parametrize("name", sorted(download.TORCHVISION))
def test_every_set_is_asked_of_torchvision_by_a_class_it_has(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    made: list[dict[str, object]] = []
    attribute, options = download.TORCHVISION[name]
    assert hasattr(datasets, attribute)
    monkeypatch.setattr(datasets, attribute, lambda root, **given: made.append({"root": root, **given}))
    download.fetch(name, tmp_path)
    assert made == [{"root": str(tmp_path), "download": True, **option} for option in options]


def test_every_set_that_can_be_downloaded_is_registered() -> None:
    assert set(download.TORCHVISION) <= set(sources)
