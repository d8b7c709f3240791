"""The ledger never claims less than was spent, whatever happens to the process or to the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fedmetric.privacy.accounting import Charge, epsilon_of
from fedmetric.privacy.ledger import START, Ledger, LedgerError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_charges_are_read_back_with_their_chain(path: Path) -> None:
    ledger = Ledger(path)
    assert (ledger.head, ledger.entries) == (START, ())
    for round in (1, 2, 3):
        ledger.charge(round, Charge(1.0, 0.1))
    again = Ledger(path)
    assert again.entries == ledger.entries
    assert again.head == ledger.head != START
    assert len({entry.head for entry in again.entries}) == 3


def test_epsilon_is_that_of_the_account_that_spent_most(path: Path) -> None:
    ledger = Ledger(path)
    for round, client in ((1, "0"), (1, "4"), (2, "4")):
        ledger.charge(round, Charge(2.0), client)
    assert ledger.accounts() == ["0", "4"]
    assert ledger.epsilon(1e-5) == epsilon_of([Charge(2.0, times=2)], 1e-5)
    assert Ledger(path.with_name("none")).epsilon(1e-5) == 0.0


def test_a_process_killed_after_its_charge_and_before_its_release_has_paid(path: Path) -> None:
    """The killed process never releases; the next one charges the round again: the ledger has both."""
    body = f"""
    import os, signal
    from pathlib import Path
    from fedmetric.privacy.accounting import Charge
    from fedmetric.privacy.ledger import Ledger
    Ledger(Path({str(path)!r})).charge(1, Charge(1.0))
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(body)])
    assert done.returncode == -signal.SIGKILL
    ledger = Ledger(path)
    assert [entry.round for entry in ledger.entries] == [1]
    ledger.charge(1, Charge(1.0))
    assert ledger.epsilon(1e-5) == epsilon_of([Charge(1.0, times=2)], 1e-5) > epsilon_of([Charge(1.0)], 1e-5)


def test_a_charge_is_on_the_disk_before_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    Ledger(path).charge(1, Charge(1.0))
    assert str(path) in flushed
    assert str(path.parent) in flushed


def test_a_line_cut_off_by_a_crash_was_never_released_and_is_dropped(path: Path) -> None:
    ledger = Ledger(path)
    first = ledger.charge(1, Charge(1.0))
    ledger.charge(2, Charge(1.0))
    path.write_bytes(path.read_bytes()[:-20])
    again = Ledger(path)
    assert again.entries == (first,)
    again.charge(2, Charge(1.0))
    assert Ledger(path).entries == again.entries


@pytest.mark.parametrize("key", ["noise", "rate", "times", "round", "account", "head"])
def test_a_line_that_was_changed_is_found(key: str, path: Path) -> None:
    ledger = Ledger(path)
    ledger.charge(1, Charge(1.0, 0.5))
    ledger.charge(2, Charge(1.0, 0.5))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    first[key] = {"account": "9", "head": "0" * 64}.get(key, 1 if key != "round" else 7)
    first[key] = 2 if key == "times" else 3.0 if key == "noise" else first[key]
    path.write_text(json.dumps(first) + "\n" + json.dumps(second) + "\n")
    with pytest.raises(LedgerError, match="line 1: was changed, or a line before it is missing"):
        Ledger(path)


@pytest.mark.parametrize("dropped", [0, 1])
def test_a_line_that_is_missing_before_others_is_found(dropped: int, path: Path) -> None:
    ledger = Ledger(path)
    for round in (1, 2, 3):
        ledger.charge(round, Charge(1.0))
    lines = path.read_text().splitlines(keepends=True)
    del lines[dropped]
    path.write_text("".join(lines))
    with pytest.raises(LedgerError, match=f"line {dropped + 1}: was changed, or a line before it is missing"):
        Ledger(path)


@pytest.mark.parametrize(
    "line", ["[]", "{}", "nonsense", '{"round": 1, "account": "", "noise": -1, "rate": 1, "times": 1, "head": ""}']
)
def test_a_line_that_is_none_is_refused(line: str, path: Path) -> None:
    path.write_text(line + "\n")
    with pytest.raises(LedgerError, match="line 1: cannot be read"):
        Ledger(path)


def test_a_ledger_that_was_put_back_is_refused_by_what_a_checkpoint_knows(path: Path) -> None:
    ledger = Ledger(path)
    ledger.charge(1, Charge(1.0))
    early = path.read_bytes()
    ledger.charge(2, Charge(1.0))
    known = ledger.head
    ledger.charge(3, Charge(1.0))
    Ledger(path).check_holds(known)
    Ledger(path).check_holds(START)
    path.write_bytes(early)
    with pytest.raises(LedgerError, match="put back to an earlier state or replaced"):
        Ledger(path).check_holds(known)
    path.unlink()
    with pytest.raises(LedgerError, match="put back to an earlier state or replaced"):
        Ledger(path).check_holds(known)
