"""What the server accepts of clients, and what it remembers of them: a part of every checkpoint.

Every reply has passed the names, shapes, dtypes and finiteness of what was asked for (see `exchange`). Here are the
bounds that need a number: how many images a client may claim, how far its weights may move. All of them are checked
before the reply counts, so a refused reply leaves the round as if that client had not been there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fedmetric.config.experiment import Accept
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import Update
from fedmetric.wire import ClientFailure

REMEMBERED = 9
"""Rounds whose median move is kept; the bound is a multiple of their median."""


@dataclass(frozen=True)
class Standing:
    """What is remembered between rounds.

    Attributes:
        moves: median L2 move of the accepted updates of each of the last rounds.
        strikes: refused replies of each client so far.
        skipped: rounds without enough clients since the last one that had enough.
    """

    moves: tuple[float, ...] = ()
    strikes: Mapping[int, int] = field(default_factory=dict)
    skipped: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return the standing as plain values for JSON."""
        strikes = {str(client): count for client, count in self.strikes.items()}
        return {"moves": list(self.moves), "strikes": strikes, "skipped": self.skipped}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Standing:
        """Read what `to_plain` wrote."""
        strikes = {int(client): int(count) for client, count in plain["strikes"].items()}
        return cls(tuple(map(float, plain["moves"])), strikes, int(plain["skipped"]))

    def asked(self, cohort: Sequence[int], accept: Accept) -> list[int]:
        """Return those of a cohort that are still asked: not the ones with as many strikes as end it."""
        return [client for client in cohort if not accept.strikes or self.strikes.get(client, 0) < accept.strikes]

    def after(self, moves: Sequence[float], failures: Sequence[ClientFailure], enough: bool) -> Standing:
        """Return the standing after a round.

        Args:
            moves: of the accepted updates.
            failures: of the others; those at the stage "reply" were refused.
            enough: whether the round had enough clients to count.
        """
        strikes = dict(self.strikes)
        for failure in failures:
            if failure.stage == "reply":
                strikes[failure.client] = strikes.get(failure.client, 0) + 1
        if not enough:
            return replace(self, strikes=strikes, skipped=self.skipped + 1)
        kept = (*self.moves, float(np.median(moves)))[-REMEMBERED:] if moves else self.moves
        return Standing(kept, strikes, 0)


NO_STANDING = Standing()
"""Before the first round."""


def check_bounds(update: Update, move: float, accept: Accept, standing: Standing) -> None:
    """Refuse an update that claims too much or moves too far.

    Args:
        update: of one client.
        move: L2 distance of its trained parameters from the weights that the round started from.
        accept: the bounds.
        standing: before the round, so that the order of replies does not matter.

    Raises:
        ProtocolError: names the bound and both numbers.
    """
    if update.num_examples > accept.examples:
        raise ProtocolError(
            f"num-examples is {update.num_examples:,}, at most {accept.examples:,} are accepted "
            "(federation.accept.examples)"
        )
    if accept.norm and move > accept.norm:
        raise ProtocolError(f"the update moves by {move:.3g}, at most {accept.norm:.3g} (federation.accept.norm)")
    if accept.norm_ratio and standing.moves:
        bound = accept.norm_ratio * float(np.median(standing.moves))
        if move > bound:
            raise ProtocolError(
                f"the update moves by {move:.3g}, at most {bound:.3g}: {accept.norm_ratio:g} times the median of the "
                "last rounds (federation.accept.norm_ratio)"
            )
