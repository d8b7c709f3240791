"""What the operator's process does by itself: following a file of events, and telling how a run ended."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedmetric.deployment.ports import check_free
from fedmetric.errors import FedmetricError, UsageError
from fedmetric.runs import RunFolder
from fedmetric.server.conductor import conducting
from fedmetric.server.hosting import end_conductor, event_lines, follow, tail
from tiny import tiny


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", tiny())


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    found = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield found
    found.kill()
    found.wait()


def test_events_are_passed_on_once_and_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = event_lines(path)
    assert next(events) == []
    path.write_text('{"a": 1}\n{"a": ')
    assert next(events) == [{"a": 1}]
    assert next(events) == []
    with path.open("a") as stream:
        stream.write("2}\n")
    assert next(events) == [{"a": 2}]


def test_a_run_is_followed_to_its_summary(folder: RunFolder, process: subprocess.Popen[bytes]) -> None:
    seen: list[Any] = []
    folder.append({"event": "round", "round": 1})
    folder.write_summary({"status": "done", "exit_code": 0})
    assert follow(folder, seen.append, process, folder.path / "log")["status"] == "done"
    assert [event["event"] for event in seen] == ["round"]


def test_a_failed_run_ends_with_the_exit_code_of_its_summary(
    folder: RunFolder, process: subprocess.Popen[bytes]
) -> None:
    folder.write_summary({"status": "failed", "exit_code": 5, "error": "nobody came"})
    with pytest.raises(FedmetricError, match="nobody came") as error:
        follow(folder, lambda event: None, process, folder.path / "log")
    assert error.value.exit_code == 5


def test_a_conductor_that_is_gone_is_told_with_how_to_go_on(folder: RunFolder) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    log = folder.path / "log"
    log.write_text("the last words\n")
    with pytest.raises(FedmetricError, match="(?s)is gone; continue with 'fedmetric serve --resume.*the last words"):
        follow(folder, lambda event: None, gone, log)


def test_a_conductor_that_lives_is_waited_for(folder: RunFolder, process: subprocess.Popen[bytes]) -> None:
    def listen(event: Any) -> None:
        folder.write_summary({"status": "done", "exit_code": 0})

    with conducting(folder.path):
        folder.append({"event": "start", "round": 0})
        assert follow(folder, listen, process, folder.path / "log")["status"] == "done"


def test_a_conductor_that_does_not_hear_is_killed(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedmetric.server.hosting.DOWN_SECONDS", 0.5)
    deaf = (
        "import signal, sys, time; from pathlib import Path; from fedmetric.server.conductor import conducting\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "with conducting(Path(sys.argv[1])): print('here', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", deaf, str(folder.path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    end_conductor(folder.path)
    assert process.wait(10) == -signal.SIGKILL


def test_a_port_that_is_taken_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen at 127.0.0.1 port {port}"):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("\n".join(map(str, range(100))))
    assert tail(log).splitlines() == [str(number) for number in range(88, 100)]
