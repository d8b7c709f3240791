"""Call the command line in this process, as a shell would, and in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedmetric.cli.app import main


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


class Command:
    """`command("list", "--json")` returns the exit code and what was printed."""

    def __init__(self, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.capture, self.patch = capture, patch

    def __call__(self, *words: str) -> Answer:
        self.patch.setattr(sys, "argv", ["fedmetric", *words])
        self.capture.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        printed = self.capture.readouterr()
        return Answer(code, printed.out, printed.err)


def in_a_process(*words: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    import os

    return subprocess.Popen(
        [sys.executable, "-m", "fedmetric.cli.app", *words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
