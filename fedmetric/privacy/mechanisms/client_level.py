"""Client-level differential privacy at a trusted server.

McMahan, Ramage, Talwar, Zhang, Learning Differentially Private Recurrent Language Models, ICLR 2018, algorithm 1 with
flat clipping and the fixed-denominator estimator (equation 1):

    u_i = clip(w_i - w, C)        one L2 norm over all trained parameters
    w  <- w + (1 / qN) (sum_{i in S} u_i + Normal(0, (z C)^2 I)),   every client in S with probability q

The mean is then handed to the federation rule as if it were the only update, so a server optimiser works on what is
private already. Every client weighs 1, whatever number of images it claims; a client that is lost counts as a move of
zero, and the denominator stays. A round with no client at all is a round of noise.

Adaptive clipping: Andrew, Thakkar, McMahan, Ramaswamy, Differentially Private Learning with Adaptive Clipping, NeurIPS
2021, algorithm 1: with b_i = 1 if the move is within C else 0, C <- C exp(-rate (b - quantile)), where b is the mean of
b_i over qN with noise of deviation qN / 20 on the sum; z is what both releases cost together, so the moves get
(z^-2 - (2 qN / 20)^-2)^(-1/2).

Differences: the noise is drawn by the server; the norm is computed by the server, because a client may lie.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.errors import ConfigError, ProtocolError
from fedmetric.federation.base import FederationRule, State, Total, Update
from fedmetric.federation.robust import trained
from fedmetric.options import Fraction, NonNegative, OpenFraction, Positive, Whole
from fedmetric.privacy.accounting import Charge, noise_for
from fedmetric.privacy.base import EXTRAPOLATED, NOT_PRIVATE, Guarantee, Mechanism, Training
from fedmetric.privacy.canaries import directions
from fedmetric.privacy.clipping import clipped, flat_norm, move_of, noise_like
from fedmetric.privacy.randomness import private_generator
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.sharing import check_only_parameters_leave
from fedmetric.privacy.wrapping import WrappingRule, check_plain_mean
from fedmetric.registry import mechanisms

CLIP, ROUND = "privacy.clip", "privacy.round"
COUNT_NOISE = 20.0
"""The count of moves within the bound gets noise of the cohort over this number."""


@mechanisms.register("client-level")
class ClientLevel(Mechanism):
    """Hide whether a client took part: clip every move, add noise to the mean at a trusted server."""

    unit = "client"
    poisson = True
    hides = True
    fixed_denominator = True
    covered = "nothing yet: the server clips it and adds noise to the mean"

    def __init__(
        self,
        *,
        clip: Positive = 1.0,
        noise: NonNegative = 1.0,
        delta: OpenFraction = 1e-5,
        target_epsilon: NonNegative = 0.0,
        quantile: Fraction = 0.0,
        quantile_rate: Positive = 0.2,
        population: Whole = 0,
        canary_clients: Whole = 0,
        seeded: bool = False,
    ) -> None:
        """Set the mechanism.

        Args:
            clip: C, the furthest that one client may move the weights, L2; with adaptive clipping where it begins.
            noise: z, standard deviation of the noise over C; 0 only clips, and hides nothing.
            delta: probability of failure; well below one over the number of clients.
            target_epsilon: epsilon of the whole run, from which the noise follows when the run begins; 0 takes `noise`.
            quantile: share of the moves that adaptive clipping wants within C, 0.5 for their median; 0 keeps C.
            quantile_rate: rate at which adaptive clipping moves ln C.
            population: simulate the noise of so many clients with the same rate; the epsilon is then extrapolated
                and holds for nobody; 0 is off.
            canary_clients: clients beside the others whose moves are random directions of length C, by which an audit
                measures what the noise hides; they cost a little of the result.
            seeded: draw noise and cohorts from the experiment's seed: for tests, NOT PRIVATE.
        """
        self.clip, self.noise, self.delta, self.target_epsilon = clip, noise, delta, target_epsilon
        self.quantile, self.quantile_rate = quantile, quantile_rate
        self.population, self.canary_clients, self.seeded = population, canary_clients, seeded

    def check(self, training: Training) -> None:
        """Refuse rules that see single updates, and tensors that would leave without noise; see `Mechanism.check`."""
        name, accept = training.experiment.federation.rule.name, training.experiment.federation.accept
        check_plain_mean(training.rule, name, "client-level")
        check_only_parameters_leave(training, "client-level")
        if accept.norm_ratio:
            raise ConfigError(
                "federation.accept.norm_ratio compares clients with one another, so that one could have others "
                "refused; under privacy 'client-level' set it to 0: clipping bounds every move"
            )

    def around(self, rule: FederationRule, schedule: Schedule) -> FederationRule:
        """Clip and add noise before the rule; see `Mechanism.around`."""
        return PrivateMean(rule, self, schedule)

    def cohort_seed(self, seed: int) -> int:
        """Return a fresh secret; see `Mechanism.cohort_seed`."""
        return seed if self.seeded else secrets.randbits(62)

    def charges(self, schedule: Schedule, cohort: Sequence[int]) -> Mapping[str, Charge]:
        """Charge everybody, drawn or not; see `Mechanism.charges`."""
        return {"": Charge(self.noise, schedule.rate)}

    def planned(self, schedule: Schedule) -> Sequence[Charge]:
        """See `Mechanism.planned`."""
        return (Charge(self.noise, schedule.rate, schedule.rounds),)

    def loudness(self, schedule: Schedule, parameters: int) -> float:
        """Return z sqrt(d) / m; see `Mechanism.loudness`."""
        noise = self.move_noise(schedule.cohort) * self.dilution(schedule)
        return noise * math.sqrt(parameters) / schedule.cohort

    def guarantee(self, schedule: Schedule) -> Guarantee:
        """See `Mechanism.guarantee`."""
        label = ""
        if self.noise == 0:
            label = f"{NOT_PRIVATE}: no noise"
        elif self.seeded:
            label = f"{NOT_PRIVATE}: noise and cohorts follow from the experiment's seed"
        elif self.population > schedule.num_clients:
            label = f"{EXTRAPOLATED}: to {self.population:,} clients; {schedule.num_clients:,} were simulated"
        return Guarantee(
            "client",
            "whoever sees the weights of every round; the server is trusted",
            "federations that differ by one client with all its images",
            self.delta,
            label,
            "the run's folder but for the model is the server's: its log, manifest and checkpoints tell who took part; "
            "class hashes beside the model, weights that training started from, and what several runs on the same "
            "images spend together are not covered",
        )

    def settled(self, schedule: Schedule) -> Mapping[str, Any]:
        """Return the noise for the epsilon that is wanted; see `Mechanism.settled`."""
        if not self.target_epsilon:
            return {}
        return {"noise": noise_for(self.target_epsilon, self.delta, schedule.rate, max(1, schedule.rounds))}

    def clients_needed(self, loudness: float, cohort: int) -> int:
        """See `Mechanism.clients_needed`."""
        return math.ceil(cohort * loudness)

    def dilution(self, schedule: Schedule) -> float:
        """Return what the noise on a sum is multiplied by to be that of a larger population on the mean; 1 without."""
        return schedule.num_clients / max(schedule.num_clients, self.population)

    def move_noise(self, cohort: float) -> float:
        """Return the multiplier for the moves, once the count of adaptive clipping has been paid for.

        Args:
            cohort: clients of a round, on average.

        Raises:
            ConfigError: the count alone costs more than all may.
        """
        if not (self.quantile and self.noise):
            return self.noise
        left = self.noise**-2 - (2 * cohort / COUNT_NOISE) ** -2
        if left <= 0:
            raise ConfigError(
                f"privacy.noise = {self.noise:g} with adaptive clipping needs cohorts of more than "
                f"{self.noise * COUNT_NOISE / 2:.0f} clients, and a round has {cohort:g}; set privacy.quantile to 0"
            )
        return float(left**-0.5)


class ClippedTotal(Total):
    """The sum of clipped moves.

    Attributes:
        moves: by tensor, float64.
        clients: that are in it.
        within: moves that were within the bound.
    """

    def __init__(self, shared: Arrays, names: Sequence[str], clip: float) -> None:
        super().__init__(shared, {})
        self.moves: Arrays = {name: np.zeros(shared[name].shape) for name in names}
        self.clip, self.clients, self.within = clip, set[int](), 0


class PrivateMean(WrappingRule):
    """Give a rule one private update in place of the clients' own."""

    def __init__(self, inner: FederationRule, mechanism: ClientLevel, schedule: Schedule) -> None:
        """Put the mechanism around a rule.

        Args:
            inner: works on the private mean.
            mechanism: the options.
            schedule: how often whose data is used.
        """
        super().__init__(inner)
        self.mechanism, self.schedule = mechanism, schedule
        mechanism.move_noise(schedule.cohort)  # refused now or never

    def init(self, shared: Arrays) -> State:
        """Return the rule's state, the bound and the count of rounds; see `FederationRule.init`."""
        return {
            **self.inner.init(shared),
            CLIP: np.array(self.mechanism.clip, np.float64),
            ROUND: np.array(0, np.int64),
        }

    def broadcast(self, state: State) -> Arrays:
        """Broadcast what the rule does; see `FederationRule.broadcast`."""
        return self.inner.broadcast(_inner(state))

    def figures(self, state: State) -> Mapping[str, float]:
        """Add the bound to the rule's figures; see `FederationRule.figures`."""
        return {**self.inner.figures(_inner(state)), "clip": float(state[CLIP])}

    def weight(self, update: Update) -> float:
        """Return 1: what a client claims does not count."""
        return 1.0

    def begin(self, shared: Arrays, state: State) -> Total:
        """Return an empty sum."""
        return ClippedTotal(shared, trained(self.layout, shared), float(state[CLIP]))

    def fold(self, total: Total, update: Update) -> None:
        """Clip a move and add it.

        Raises:
            ProtocolError: values that are not finite, or a second update of the same client.
        """
        assert isinstance(total, ClippedTotal)
        if update.client in total.clients:
            raise ProtocolError(f"client {update.client} has sent a second update in this round")
        names = [name for name in total.moves if name in update.arrays]
        move = move_of(total.shared, update.arrays, names)
        total.within += int(flat_norm(move) <= total.clip)
        for name, array in clipped(move, total.clip).items():
            total.moves[name] += array
        total.clients.add(update.client)

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Add noise, divide by the expected cohort, and let the rule work on the result."""
        assert isinstance(total, ClippedTotal)
        round, cohort = int(state[ROUND]) + 1, float(self.schedule.cohort)
        generator = private_generator(
            self.schedule.seed, self.mechanism.seeded, "noise of the private mean", round=round
        )
        self._add_canaries(total, generator)
        deviation = self.mechanism.move_noise(cohort) * total.clip * self.mechanism.dilution(self.schedule)
        noise = noise_like(total.moves, deviation, generator)
        mean = {
            name: (shared[name].astype(np.float64) + (moved + noise[name]) / cohort).astype(shared[name].dtype)
            for name, moved in total.moves.items()
        }
        inner, new = self.inner.aggregate(_inner(state), shared, [Update(-1, {**shared, **mean}, 1)])
        clip = self._next_clip(total, cohort, generator)
        return {**inner, CLIP: np.array(clip, np.float64), ROUND: np.array(round, np.int64)}, new

    def _add_canaries(self, total: ClippedTotal, generator: np.random.Generator) -> None:
        """Add the moves of those canary clients that are drawn."""
        drawn = np.flatnonzero(generator.random(self.mechanism.canary_clients) < self.schedule.rate)
        sizes = [array.size for array in total.moves.values()]
        for direction in directions(self.schedule.seed, drawn.tolist(), sum(sizes)):
            parts = np.split(total.clip * direction, np.cumsum(sizes)[:-1])
            for (name, array), part in zip(total.moves.items(), parts, strict=True):
                total.moves[name] = array + part.reshape(array.shape)

    def _next_clip(self, total: ClippedTotal, cohort: float, generator: np.random.Generator) -> float:
        """Move the bound towards the quantile of the moves."""
        if not self.mechanism.quantile:
            return total.clip
        # centred at one half, so that a client changes the sum by one half at most, in or out
        centred = total.within - len(total.clients) / 2
        deviation = cohort / COUNT_NOISE * self.mechanism.dilution(self.schedule) if self.mechanism.noise else 0.0
        share = (centred + generator.normal(0.0, 1.0) * deviation) / cohort + 0.5
        return total.clip * math.exp(-self.mechanism.quantile_rate * (share - self.mechanism.quantile))


def _inner(state: State) -> State:
    return {name: array for name, array in state.items() if name not in (CLIP, ROUND)}
