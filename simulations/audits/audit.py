"""All attacks on a run, one after another, each with its findings or the reason why it was not made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fedmetric.errors import UsageError
from fedmetric.registry import nearest
from fedmetric.simulations.audits.attribute import attribute
from fedmetric.simulations.audits.canary_clients import canary_clients
from fedmetric.simulations.audits.finding import Finding
from fedmetric.simulations.audits.inversion import embedding_inversion, update_inversion
from fedmetric.simulations.audits.membership import membership
from fedmetric.simulations.audits.one_run import one_run
from fedmetric.simulations.audits.subject import Subject

AUDIT = "audit.json"
ATTACKS: Mapping[str, Callable[[Subject], Iterator[Finding]]] = {
    "membership": membership,
    "one-run": one_run,
    "canary-clients": canary_clients,
    "embedding-inversion": embedding_inversion,
    "update-inversion": update_inversion,
    "attribute": attribute,
}


def audit_run(
    folder: Path, attacks: Sequence[str] = (), tell: Callable[[str], None] = lambda name: None
) -> list[Finding]:
    """Attack a run and write what was found into its folder, as audit.json.

    Args:
        folder: of a run that has ended.
        attacks: which; by default all. One that cannot be made is refused if it was asked for, and noted if not.
        tell: is told the name of each attack before it begins.

    Raises:
        UsageError: an unknown attack, a run without a model, or an attack that cannot be made on it.
        BrokenGuaranteeError: an attack rules out what the run claims.
    """
    for name in attacks:
        if name not in ATTACKS:
            raise UsageError(f"no attack '{name}'{nearest(name, list(ATTACKS))}; known: {', '.join(ATTACKS)}")
    subject = Subject(folder)
    found: list[Finding] = []
    for name in attacks or ATTACKS:
        tell(name)
        try:
            found += ATTACKS[name](subject)
        except UsageError as error:
            if attacks:
                raise
            found.append(Finding(name, "trained", "", None, note=f"not made: {error}"))
    plain = {"findings": [finding.to_plain() for finding in found], "privacy": subject.spending}
    (folder / AUDIT).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return found
