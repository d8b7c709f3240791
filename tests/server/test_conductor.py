"""One process at a time conducts a run, and a dead one is told from a living one whatever its number."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedmetric.errors import UsageError
from fedmetric.server.conductor import FILE, conducting, is_conducted, signal_conductor

HOLD = """
import sys, time
from pathlib import Path
from fedmetric.server.conductor import conducting
with conducting(Path(sys.argv[1])):
    print("conducting", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "conducting\n"
    return process


def test_a_run_is_conducted_for_the_time_of_a_block(tmp_path: Path) -> None:
    assert not is_conducted(tmp_path)
    with conducting(tmp_path):
        assert is_conducted(tmp_path)
    assert not is_conducted(tmp_path)


def test_a_second_process_is_refused(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(UsageError, match="being conducted by another process already"), conducting(tmp_path):
        pass
    other.kill()
    other.wait()


def test_a_killed_process_conducts_no_more_even_before_its_parent_looks_after_it(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    """The process is a zombie until `wait`: a signal still reaches its number."""
    other.kill()
    deadline = time.monotonic() + 10
    while is_conducted(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_conducted(tmp_path)
    assert (tmp_path / FILE).read_text() == str(other.pid)
    with conducting(tmp_path):
        pass
    other.wait()


def test_the_process_is_asked_to_end_by_a_signal(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    signal_conductor(tmp_path, signal.SIGTERM)
    assert other.wait(10) == -15
    signal_conductor(tmp_path, signal.SIGTERM)  # nobody is there: nothing happens
