"""The ledger: every release is written down before it is made, and nothing is ever taken back.

A charge is on the disk before anything is computed from private data. A crash between the charge and the release costs
a charge for nothing; a resumed run charges again, because what the first attempt showed cannot be unseen. So the
epsilon of the ledger is never below the truth.

Each line holds the sha256 of all lines before it. A line that was changed or dropped in the middle is found by the
lines after it, a ledger that was put back to a state before the last checkpoint by that checkpoint, which holds its
head. The chain guards against accidents: whoever rewrites all lines after the last checkpoint, or puts back the whole
folder of a run, is not found out.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fedmetric.durable import flush
from fedmetric.errors import FedmetricError
from fedmetric.privacy.accounting import Charge, epsilon_of

START = "0" * 64


class LedgerError(FedmetricError):
    """Report a ledger that was changed, cut short, or put back to an earlier state."""


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        round: server round from 1.
        account: whose privacy is spent: "" for every unit of the federation, else a client's number.
        charge: what it costs.
        head: sha256 of this line and all before it, 64 hex digits.
    """

    round: int
    account: str
    charge: Charge
    head: str


class Ledger:
    """An append-only file of charges."""

    def __init__(self, path: Path) -> None:
        """Read the file, if it is there.

        Args:
            path: of the ledger, JSON lines.

        Raises:
            LedgerError: a line is damaged, or does not follow from those before it.
        """
        self.path = path
        self._entries = list(_read(path)) if path.exists() else []
        self._size = path.stat().st_size if path.exists() else 0

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All charges, oldest first."""
        return tuple(self._entries)

    @property
    def head(self) -> str:
        """The sha256 of the last line and all before it; 64 zeros without any."""
        return self._entries[-1].head if self._entries else START

    def charge(self, round: int, charge: Charge, account: str = "") -> Entry:
        """Write a charge, flushed to the disk, and return its entry; only then may the release be made."""
        with self.path.open("a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # let go when the file is closed
            if stream.tell() != self._size:
                self._entries = list(_read(self.path))  # another process has charged meanwhile
            body = {"round": round, "account": account, **asdict(charge)}
            entry = Entry(round, account, charge, _head_after(self.head, body))
            line = json.dumps({**body, "head": entry.head}) + "\n"
            stream.seek(0, os.SEEK_END)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
            self._size = stream.tell()
        if not self._entries:
            flush(self.path.parent)
        self._entries.append(entry)
        return entry

    def accounts(self) -> list[str]:
        """List whose privacy was spent."""
        return sorted({entry.account for entry in self._entries})

    def charges(self, account: str = "") -> list[Charge]:
        """List the charges of one account."""
        return [entry.charge for entry in self._entries if entry.account == account]

    def epsilon(self, delta: float) -> float:
        """Return the largest epsilon of any account; those of different clients concern different units."""
        return max((epsilon_of(self.charges(account), delta) for account in self.accounts()), default=0.0)

    def check_holds(self, head: str) -> None:
        """Refuse to go on if a state that this ledger once had is not in it any more.

        Args:
            head: what `Ledger.head` was, as a checkpoint has it.

        Raises:
            LedgerError: the ledger was put back, or is another one.
        """
        if head not in {START, *(entry.head for entry in self._entries)}:
            raise LedgerError(
                f"{self.path}: the checkpoint knows charges that this ledger does not hold; it was put back to an "
                "earlier state or replaced, and going on would claim less than was spent. Restore the newest ledger"
            )


def _read(path: Path) -> Iterator[Entry]:
    """Read and check the lines; a last line without its end was never flushed, so nothing was released for it."""
    text = path.read_text(encoding="utf-8")
    whole, _, torn = text.rpartition("\n")
    if torn:
        with path.open("r+", encoding="utf-8") as stream:
            stream.truncate(len(text.encode()) - len(torn.encode()))
    head = START
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            body = json.loads(line)
            stated = body.pop("head")
            charge = Charge(body["noise"], body["rate"], body["times"])
            entry = Entry(body["round"], body["account"], charge, stated)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerError(f"{path}, line {number}: cannot be read: {error}") from error
        head = _head_after(head, body)
        if stated != head:
            raise LedgerError(f"{path}, line {number}: was changed, or a line before it is missing")
        yield entry


def _head_after(head: str, body: dict[str, object]) -> str:
    return hashlib.sha256((head + json.dumps(body, sort_keys=True)).encode()).hexdigest()
