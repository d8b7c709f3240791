"""What left the clients of a run, and what it has cost, read from the books in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from fedmetric.privacy.base import Mechanism
from fedmetric.privacy.ledger import Ledger, LedgerError
from fedmetric.privacy.manifest import read_manifest
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.statement import statement_of
from fedmetric.runs import RunFolder


def departures_of(run: RunFolder) -> dict[str, Any]:
    """Add up a run's manifest.

    Returns:
        "updates", "clients", "rounds" and "bytes" over all, and "kinds": for each kind of update its contents ("rows"),
        what covers it ("covered"), how many left, by how many clients, in how many bytes, with which norms.

    Raises:
        FedmetricError: nothing has left yet.
    """
    lines = read_manifest(run.manifest)
    kinds: dict[str, dict[str, Any]] = {}
    for line in lines:
        if "rows" in line:
            kinds[line["what"]] = {"covered": line["covered"], "rows": line["rows"], "left": []}
    left = [line for line in lines if "round" in line and line["what"] in kinds]
    for line in left:
        kinds[line["what"]]["left"].append(line)
    return {
        "updates": len(left),
        "clients": len({line["client"] for line in left}),
        "rounds": len({line["round"] for line in left}),
        "bytes": sum(line["bytes"] for line in left),
        "kinds": [_added_up(kind) for kind in kinds.values() if kind["left"]],
    }


def _added_up(kind: Mapping[str, Any]) -> dict[str, Any]:
    left = kind["left"]
    norms = [line["norm"] for line in left]
    return {
        "covered": kind["covered"],
        "rows": kind["rows"],
        "updates": len(left),
        "clients": len({line["client"] for line in left}),
        "bytes": sum(line["bytes"] for line in left),
        "norm": {"min": min(norms), "max": max(norms)},
    }


def spending_of(run: RunFolder) -> dict[str, Any]:
    """Return what may be claimed and what was spent; empty where nothing is claimed. Reads no images.

    Raises:
        LedgerError: the ledger was changed or cut short.
    """
    from fedmetric.privacy.schedule import schedule_of
    from fedmetric.privacy.secure.noise import mechanism_of

    mechanism = mechanism_of(run.experiment)
    if not mechanism.unit:
        return {}
    clients = next((event["clients"] for event in run.events() if event["event"] == "start"), 1)
    check_complete(run, mechanism, schedule_of(run.experiment, clients))
    return statement_of(mechanism, schedule_of(run.experiment, clients), Ledger(run.ledger))


def check_complete(run: RunFolder, mechanism: Mechanism, schedule: Schedule) -> None:
    """Refuse a ledger that lacks rounds which the run's log has.

    Raises:
        LedgerError: names the round.
    """
    done = max((event["round"] for event in run.events() if event["event"] == "round"), default=0)
    paid = max((entry.round for entry in Ledger(run.ledger).entries), default=0)
    kept_here = bool(mechanism.charges(schedule, [0])) or paid > 0
    if kept_here and paid < done:
        raise LedgerError(
            f"{run.ledger}: charges end with round {paid}, and the run has done {done} rounds; the ledger was cut, or "
            "put back to an earlier state"
        )


def departure_tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """Draw what each kind of update is made of."""
    for kind in found["kinds"]:
        covered = f"covered by {kind['covered']}" if kind["covered"] else "as they are"
        table = Table(
            title=f"{kind['updates']:,} updates of {kind['clients']:,} clients, {covered}; norm "
            f"{kind['norm']['min']:.4g} to {kind['norm']['max']:.4g}",
            title_justify="left",
        )
        table.add_column("what")
        table.add_column("name")
        for title in ("shape", "dtype", "bytes"):
            table.add_column(title, justify="right")
        for row in kind["rows"]:
            shape = "x".join(map(str, row["shape"])) or "one"
            table.add_row(row["kind"], row["name"], shape, row["dtype"], f"{row['bytes']:,}")
        yield table
