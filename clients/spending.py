"""What a deployed site has spent of the privacy of its own images, over all runs, and where it stops.

Only what the site itself does counts: noise that a server adds later protects nobody from the server.
"""

from __future__ import annotations

from pathlib import Path

from fedmetric.clients.limits import LimitError, Limits
from fedmetric.privacy.accounting import Charge, epsilon_of
from fedmetric.privacy.base import NOT_PRIVATE
from fedmetric.privacy.ledger import Ledger
from fedmetric.training.site import Site

LEDGER = "ledger.jsonl"


def spend(folder: Path, limits: Limits, site: Site, round: int, num_images: int) -> None:
    """Write down what a round costs, before it is trained; refuse it if the site would have spent too much.

    Args:
        folder: the site's own, in which the ledger of all its runs lies.
        limits: the site's terms.
        site: with the mechanism.
        round: server round from 1.
        num_images: that the site has.

    Raises:
        LimitError: nothing at the site protects its images although it has a limit, or the limit would be passed.
        LedgerError: the ledger was changed.
    """
    mechanism = site.trainer.mechanism
    charge, guarantee = mechanism.charge_of(site.schedule, num_images), mechanism.guarantee(site.schedule)
    void = guarantee is not None and guarantee.label.startswith(NOT_PRIVATE)
    if limits.mechanisms and void:
        raise LimitError(
            f"privacy '{site.experiment.privacy.name}' as it is asked for hides nothing: no noise, or seeded"
        )
    if charge is None or guarantee is None:
        if limits.epsilon:
            raise LimitError(
                f"privacy '{site.experiment.privacy.name}' adds no noise at the site, and this site has an epsilon of "
                f"{limits.epsilon:g} to spend; use 'record-level' or 'local'"
            )
        return
    if void:
        charge = Charge(0.0, charge.rate, charge.times)
    ledger = Ledger(folder / LEDGER)
    if limits.epsilon:
        total = epsilon_of([*ledger.charges(), charge], limits.delta)
        if total > limits.epsilon:
            raise LimitError(
                f"the round would bring this site to epsilon {total:.4g} at delta {limits.delta:g}; it allows "
                f"{limits.epsilon:g} over all runs"
            )
    folder.mkdir(parents=True, exist_ok=True)
    ledger.charge(round, charge)
