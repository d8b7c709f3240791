"""What a private run would be like, before it is begun: how much of every step is noise, and what would help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedmetric.privacy.accounting import Charge, epsilon_of
from fedmetric.privacy.base import Guarantee, Mechanism
from fedmetric.privacy.schedule import Schedule

LOUD, DEAFENING = 1.0, 10.0
"""Norm of the noise over the clip norm from which a plan is doubtful, and from which it is refused.

The mean of clipped moves is no longer than the clip norm, and that only if all clients agree."""
MILESTONES = 8


@dataclass(frozen=True)
class PrivacyPlan:
    """A plan.

    Attributes:
        guarantee: what may be claimed.
        noise: the multiplier z.
        rate: the probability of a unit to take part in a release.
        parameters: numbers that are trained and shared, d.
        cohort: clients of a round, on average.
        units: how many there are to hide.
        loudness: expected norm of the noise on a round's mean over the clip norm.
        epsilons: epsilon after some rounds, by round; infinite without noise.
        advice: what would make the noise smaller, in words.
    """

    guarantee: Guarantee
    noise: float
    rate: float
    parameters: int
    cohort: int
    units: int
    loudness: float
    epsilons: Mapping[int, float]
    advice: Sequence[str]

    @property
    def verdict(self) -> str:
        """ "fine", "doubtful" or "unusable"."""
        if self.loudness <= LOUD:
            return "fine"
        return "doubtful" if self.loudness <= DEAFENING else "unusable"


def plan_privacy(mechanism: Mechanism, schedule: Schedule, parts: Mapping[str, int]) -> PrivacyPlan | None:
    """Plan a run; None for a mechanism that claims nothing.

    Args:
        mechanism: with its noise settled.
        schedule: how often whose data is used.
        parts: numbers that are trained and shared in each part of the network, first to last.
    """
    guarantee = mechanism.guarantee(schedule)
    if guarantee is None:
        return None
    (charge,) = mechanism.planned(schedule)
    parameters = sum(parts.values())
    loudness = mechanism.loudness(schedule, parameters)
    rounds = sorted({max(1, round(schedule.rounds * part / MILESTONES)) for part in range(1, MILESTONES + 1)})
    each = charge.times / max(1, schedule.rounds)
    spent = {
        done: epsilon_of([Charge(charge.noise, charge.rate, math.ceil(each * done))], guarantee.delta)
        for done in rounds
    }
    units = schedule.num_clients if guarantee.unit == "client" else max(schedule.images, default=0)
    advice = list(advise(mechanism, parts, loudness, schedule)) if loudness > LOUD else []
    return PrivacyPlan(
        guarantee, charge.noise, charge.rate, parameters, schedule.cohort, units, loudness, spent, advice
    )


def advise(mechanism: Mechanism, parts: Mapping[str, int], loudness: float, schedule: Schedule) -> Sequence[str]:
    """Say what would bring the noise down to the clip norm."""
    parameters = sum(parts.values())
    wanted = mechanism.clients_needed(loudness, schedule.cohort)
    found = [f"{wanted:,} clients in a round in place of {schedule.cohort:,} would bring it to 1"] if wanted else []
    names = list(parts)
    for first in range(1, len(names)):
        left = sum(parts[name] for name in names[first:])
        smaller = loudness * math.sqrt(left / parameters)
        frozen = names[0] if first == 1 else f"{names[0]} to {names[first - 1]}"
        found.append(f"freezing {frozen} leaves {left:,} numbers and brings it to {smaller:.3g}")
    return found
