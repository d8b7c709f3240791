from __future__ import annotations

import os

import pytest

from command import Command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    # --data and --allow-download set these for the processes of a run; have them put back
    for name in ("FEDMETRIC_DATA", "FEDMETRIC_ALLOW_DOWNLOAD"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return Command(capsys, monkeypatch)
