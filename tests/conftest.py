"""Fixtures for all tests: a cache folder of their own, no downloads, and the real data sets where they exist."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep decoded images in a folder of this test session, never in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDMETRIC_CACHE", str(folder))
        patch.delenv("FEDMETRIC_ALLOW_DOWNLOAD", raising=False)
        yield folder


@pytest.fixture
def real_data(real_data_of_module: Path) -> Path:
    """Return the folder of the real data sets, or skip the test."""
    return real_data_of_module


@pytest.fixture(scope="session")
def real_data_of_module() -> Path:
    """Return the folder of the real data sets to fixtures that outlive a test, or skip what needs them."""
    place = os.environ.get("FEDMETRIC_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("set FEDMETRIC_DATA to a folder with the real data sets to run this test")
    return Path(place)
