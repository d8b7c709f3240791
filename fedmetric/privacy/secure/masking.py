"""What an experiment says of secure aggregation: its terms, the vector that a client masks, the mean of the sum.

A client's move is what it would have sent, less the weights that the server sent it, over all trained parameters that
go both ways, as one flat vector clipped to an L2 norm. It weighs 1 whatever number of images it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.errors import ConfigError, ProtocolError
from fedmetric.privacy.base import Mechanism, Training
from fedmetric.privacy.clipping import clipped, move_of, noise_like
from fedmetric.privacy.randomness import private_generator
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.secure.noise import DistributedNoise
from fedmetric.privacy.secure.terms import MINIMUM_CLIENTS, Terms, lowest_threshold, threshold_of
from fedmetric.privacy.sharing import check_covered
from fedmetric.privacy.wrapping import not_a_plain_mean

SPARE = 10.0
"""Standard deviations by which a noise's norm may exceed sqrt(d) of them: a Gaussian's does with probability below
exp(-SPARE^2 / 2) (concentration of a function of Lipschitz constant 1)."""


class Masking:
    """The settings of an experiment's secure aggregation, the same at the server and at every client."""

    def __init__(self, experiment: Experiment, mechanism: Mechanism) -> None:
        """Take what the experiment says.

        Args:
            experiment: with secure aggregation on.
            mechanism: of the experiment; see `mechanism_of`.
        """
        secure = experiment.federation.secure
        self.clip, self._noise, self._seeded = secure.clip, 0.0, False
        if isinstance(mechanism, DistributedNoise):
            self.clip, self._noise, self._seeded = mechanism.clip, mechanism.noise, mechanism.seeded
        self._threshold, self._seed = secure.threshold, experiment.seed

    def threshold(self, cohort: int) -> int:
        """Return the fewest clients of a cohort that must answer; more than a cohort that is too small has."""
        return threshold_of(cohort, self._threshold)

    def deviation(self, threshold: int) -> float:
        """Return the standard deviation of one client's noise: that of `threshold` clients together is z C."""
        return self._noise * self.clip / math.sqrt(threshold)

    def terms(self, run: str, round: int, cohort: int, length: int) -> Terms:
        """Return the terms of one aggregation; their norm leaves room for the noise.

        Args:
            run: a name that no other aggregation has, with the round.
            round: server round from 1.
            cohort: clients that are asked.
            length: numbers in each client's vector.

        Raises:
            ProtocolError: the cohort is too small.
        """
        threshold = self.threshold(cohort)
        reach = self.clip
        if self._noise:
            reach += self.deviation(threshold) * (math.sqrt(length) + SPARE)
        return Terms(run, round, cohort, threshold, length, reach)

    def check(self, terms: Terms, round: int, num_clients: int, length: int) -> None:
        """Compare terms that a server proposes with what the experiment says.

        Args:
            terms: the server's.
            round: that is asked for.
            num_clients: of the federation.
            length: of the client's own vector.

        Raises:
            ProtocolError: they differ.
        """
        expected = self.terms(terms.run, round, terms.num_clients, length)
        if terms != expected or terms.num_clients > num_clients:
            raise ProtocolError(
                f"the server proposes {terms}; the experiment says {expected}, of {num_clients} clients at most"
            )

    def vector(
        self, terms: Terms, client: int, before: Arrays, after: Arrays, names: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return what a client masks: its clipped move, with its share of the noise.

        Args:
            terms: of the aggregation.
            client: its number.
            before: the weights that the server sent.
            after: those that the client would send.
            names: the trained parameters among them, in order.

        Returns:
            (N,) float64, of a norm of at most the terms' clip norm.

        Raises:
            ProtocolError: a value is not finite.
        """
        move = clipped(move_of(before, after, names), self.clip)
        generator = private_generator(self._seed, self._seeded, "share of the noise", round=terms.round, client=client)
        noise = noise_like(move, self.deviation(terms.threshold), generator)
        vector = np.concatenate([(move[name] + noise[name]).ravel() for name in names])
        norm = float(np.linalg.norm(vector))
        return vector if norm <= terms.clip else vector * (terms.clip / norm)


def mean_of(shared: Arrays, names: Sequence[str], total: NDArray[np.float64], divisor: float) -> Arrays:
    """Return the weights plus a sum of moves over a number, for these tensors.

    Args:
        shared: the weights that the round started from.
        names: of the trained parameters, in order.
        total: (N,) float64, the sum.
        divisor: how many clients the mean is of.
    """
    found, begin = dict[str, NDArray[Any]](), 0
    for name in names:
        old = shared[name]
        moved = total[begin : begin + old.size].reshape(old.shape) / divisor
        found[name], begin = (old.astype(np.float64) + moved).astype(old.dtype), begin + old.size
    return found


def length_of(arrays: Arrays, names: Sequence[str]) -> int:
    """Count the numbers of these tensors together."""
    return sum(arrays[name].size for name in names)


def check_secure(training: Training, schedule: Schedule) -> None:
    """Refuse training that needs more than the sum of the clients' moves, and cohorts that are too small.

    Raises:
        ConfigError: says why, and what to change.
    """
    federation, layout, routes = training.experiment.federation, training.layout, training.routes
    name = federation.rule.name
    if found := not_a_plain_mean(training.rule):
        raise ConfigError(
            f"federation.secure hides single updates from the server, and federation.rule '{name}' "
            f"{' and '.join(found)}; use fedavg, or another rule that works on the mean alone, such as fedadam, or set "
            "federation.secure.on to false"
        )
    check_covered(training, "federation.secure")
    if kept := layout.parameters & (set(routes.up) - set(routes.down)):
        raise ConfigError(
            f"federation.secure adds up moves from the server's weights, and under federation.rule '{name}' clients "
            f"keep {len(kept)} tensors of their own that they also send; use fedavg"
        )
    cohort = schedule.cohort
    if cohort < MINIMUM_CLIENTS:
        raise ConfigError(
            f"federation.secure with cohorts of {cohort} clients: it takes {MINIMUM_CLIENTS}, because in the sum of "
            "two each learns the other's move; raise federation.clients_per_round, or the number of clients"
        )
    lowest = lowest_threshold(cohort)
    wanted = federation.secure.threshold
    if wanted and not lowest <= wanted <= cohort:
        raise ConfigError(
            f"federation.secure.threshold = {wanted} of cohorts of {cohort}; it must be {lowest} to {cohort}, or 0 for "
            "more than two thirds"
        )
