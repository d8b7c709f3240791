"""Client-level differential privacy without a trusted server: noise in shares, under secure aggregation.

Every client clips its move to C and adds Normal(0, (z C)^2 / t) in each coordinate, where t is the threshold of the
aggregation, before its vector is masked. The server learns the sum over the survivors only, of which there are t at
least, so the noise of the sum has variance (z C)^2 or more; over more survivors it is more. The denominator of the mean
stays the expected cohort.

What is accounted for:

* No amplification by sampling: the server draws the cohort and knows who is in it, and the size of the noise tells
  everybody how many survived. So each client that is asked pays for a whole Gaussian mechanism with multiplier z in its
  own account, rounds that do not count included, and a client that is not asked pays nothing.
* Neighbours differ in the images of one client, which takes part all the same, with a move of zero and its noise: that
  a client takes part, and drops out, is not hidden.
* A client knows its own noise. Of k survivors, c that pool theirs with the server leave (1 - c / k) of the variance,
  and the epsilon holds for the multiplier that is left. Clients that drop out take their share with them, which t
  allows for.
* Noise is added before the vector is written in fixed point. The epsilon is that of sums of real numbers: each vector
  is rounded by itself, to levels that are finer than the noise by orders of magnitude. A vector longer than C and the
  noise's norm with ten deviations to spare (probability below 1e-21) is scaled down by its client, to what it draws
  from its own move and noise alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fedmetric.config import Experiment
from fedmetric.federation.base import FederationRule
from fedmetric.privacy.accounting import Charge, noise_for
from fedmetric.privacy.base import Guarantee, Mechanism
from fedmetric.privacy.mechanisms.client_level import ClientLevel
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.secure.terms import threshold_of
from fedmetric.registry import mechanisms


class DistributedNoise(ClientLevel):
    """Hide what a client's images do from the server too: noise in shares, of which the server sees the sum.

    Options are those of "client-level".
    """

    threshold = 0
    covered = "a mask, and noise in shares"

    def around(self, rule: FederationRule, schedule: Schedule) -> FederationRule:
        """Return the rule: what it is given comes out of the secure aggregation; see `Mechanism.around`."""
        return rule

    def charges(self, schedule: Schedule, cohort: Sequence[int]) -> Mapping[str, Charge]:
        """Charge each client that is asked; see `Mechanism.charges`."""
        return {str(client): Charge(self.noise) for client in cohort}

    def planned(self, schedule: Schedule) -> Sequence[Charge]:
        """Plan for a client that is asked in every round; see `Mechanism.planned`."""
        return (Charge(self.noise, 1.0, schedule.rounds),)

    def loudness(self, schedule: Schedule, parameters: int) -> float:
        """Return z sqrt(d m / t) / m, where all of a cohort of m survive; see `Mechanism.loudness`."""
        shares = schedule.cohort / threshold_of(schedule.cohort, self.threshold)
        return self.noise * math.sqrt(parameters * shares) / schedule.cohort

    def guarantee(self, schedule: Schedule) -> Guarantee:
        """See `Mechanism.guarantee`."""
        return replace(
            super().guarantee(schedule),
            adversary="the server, which follows the protocol of secure aggregation, and whoever sees the weights",
            neighbours="all images of one client taken away, while it takes part with a move of zero and its noise",
            limits="that a client takes part, when, and whether it drops out or its round counts is not hidden; "
            "c of k survivors that pool what they know with the server take their shares of the noise away, so that "
            "(1 - c / k) of the variance is left; those of clients that drop out are allowed for down to the threshold",
        )

    def settled(self, schedule: Schedule) -> Mapping[str, Any]:
        """Return the noise for the epsilon of a client that is asked in every round; see `Mechanism.settled`."""
        if not self.target_epsilon:
            return {}
        return {"noise": noise_for(self.target_epsilon, self.delta, 1.0, max(1, schedule.rounds))}


def mechanism_of(experiment: Experiment) -> Mechanism:
    """Return an experiment's mechanism; under secure aggregation "client-level" adds its noise at the clients."""
    secure = experiment.federation.secure
    if secure.on and experiment.privacy.name == "client-level":
        mechanism = DistributedNoise(**experiment.privacy.options())
        mechanism.threshold = secure.threshold
        return mechanism
    built: Mechanism = mechanisms.build(experiment.privacy)
    return built
