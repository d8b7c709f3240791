"""Local differential privacy: every client adds noise to its own update, and nobody else needs to be trusted.

Balle, Wang, Improving the Gaussian Mechanism for Differential Privacy: Analytical Calibration, ICML 2018: the Gaussian
mechanism with its exact epsilon. A client may exchange all its images for others, which moves its clipped update by 2 C
at most, so the noise has standard deviation z 2 C in every coordinate. Releases over rounds compose into one Gaussian
mechanism with multiplier z / sqrt(T).

A baseline: the noise of a mean over m clients is sqrt(m) times what a trusted server would need, and twice that for the
stronger neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.base import FederationRule, LocalRound
from fedmetric.federation.robust import trained
from fedmetric.options import NonNegative, OpenFraction, Positive
from fedmetric.privacy.accounting import Charge, analytic_gaussian_noise
from fedmetric.privacy.base import NOT_PRIVATE, Guarantee, Mechanism, Training
from fedmetric.privacy.clipping import clipped, move_of, noise_like
from fedmetric.privacy.randomness import private_generator
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.sharing import check_only_parameters_leave, check_starts_from_the_server
from fedmetric.privacy.wrapping import WrappingRule, check_plain_mean
from fedmetric.registry import mechanisms


@mechanisms.register("local")
class Local(Mechanism):
    """Hide a client's update from the server itself: clip it and add noise before it leaves."""

    unit = "client"
    hides = True
    covered = "its own noise"

    def __init__(
        self,
        *,
        clip: Positive = 1.0,
        noise: NonNegative = 1.0,
        delta: OpenFraction = 1e-5,
        target_epsilon: NonNegative = 0.0,
        seeded: bool = False,
    ) -> None:
        """Set the mechanism.

        Args:
            clip: C, the furthest that a client may move the weights, L2.
            noise: z, standard deviation of the noise over 2 C; 0 only clips, and hides nothing.
            delta: probability of failure.
            target_epsilon: epsilon of a client that takes part in every round, from which the noise follows when the
                run begins; 0 takes `noise`.
            seeded: draw the noise from the experiment's seed: for tests, NOT PRIVATE.
        """
        self.clip, self.noise, self.delta = clip, noise, delta
        self.target_epsilon, self.seeded = target_epsilon, seeded

    def check(self, training: Training) -> None:
        """Refuse rules that would learn from more than the mean; see `Mechanism.check`."""
        check_plain_mean(training.rule, training.experiment.federation.rule.name, "local")
        check_only_parameters_leave(training, "local")
        check_starts_from_the_server(training, "local")

    def around(self, rule: FederationRule, schedule: Schedule) -> FederationRule:
        """Add noise where updates leave; see `Mechanism.around`."""
        return NoisyUpload(rule, self, schedule.seed)

    def charge_of(self, schedule: Schedule, num_images: int) -> Charge:
        """See `Mechanism.charge_of`."""
        return Charge(self.noise)

    def charges(self, schedule: Schedule, cohort: Sequence[int]) -> Mapping[str, Charge]:
        """Charge each client that is asked; see `Mechanism.charges`."""
        return {str(client): Charge(self.noise) for client in cohort}

    def planned(self, schedule: Schedule) -> Sequence[Charge]:
        """See `Mechanism.planned`."""
        return (Charge(self.noise, 1.0, schedule.rounds),)

    def loudness(self, schedule: Schedule, parameters: int) -> float:
        """Return 2 z sqrt(d / m); see `Mechanism.loudness`."""
        return 2 * self.noise * math.sqrt(parameters / schedule.cohort)

    def clients_needed(self, loudness: float, cohort: int) -> int:
        """See `Mechanism.clients_needed`."""
        return math.ceil(cohort * loudness**2)

    def guarantee(self, schedule: Schedule) -> Guarantee:
        """See `Mechanism.guarantee`."""
        label = f"{NOT_PRIVATE}: no noise" if self.noise == 0 else ""
        if self.noise and self.seeded:
            label = f"{NOT_PRIVATE}: the noise follows from the experiment's seed"
        return Guarantee(
            "client",
            "the server, and whoever sees what it sees",
            "all images of one client replaced by others",
            self.delta,
            label,
            "that a client takes part, when, and how fast it answers is not hidden; nor what several runs on the same "
            "images spend together",
            replacing=True,
        )

    def settled(self, schedule: Schedule) -> Mapping[str, Any]:
        """Return the noise for the epsilon that is wanted; see `Mechanism.settled`."""
        if not self.target_epsilon:
            return {}
        return {"noise": math.sqrt(max(1, schedule.rounds)) * analytic_gaussian_noise(self.target_epsilon, self.delta)}


class NoisyUpload(WrappingRule):
    """Clip what a client sends and add noise to it."""

    def __init__(self, inner: FederationRule, mechanism: Local, seed: int) -> None:
        """Put the mechanism around a rule.

        Args:
            inner: its client's half comes first.
            mechanism: the options.
            seed: of the experiment, for a seeded mechanism.
        """
        super().__init__(inner)
        self.mechanism, self._seed = mechanism, seed

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Return the server's weights plus a clipped move and noise; see `FederationRule.send`.

        The move is counted from what the server sent, which it knows. Tensors that are not trained leave as they came;
        a move that is not finite counts as none, so that no client fails because of what its images are.
        """
        sent, extra = self.inner.send(before, after, now)
        names = trained(self.layout, sent)
        before = {name: before[name] for name in sent} | {n: now.received[n].cpu().numpy() for n in names}
        finite = all(np.isfinite(sent[name]).all() for name in names)
        move = clipped(move_of(before, sent if finite else before, names), self.mechanism.clip)
        generator = private_generator(
            self._seed, self.mechanism.seeded, "noise of an upload", round=now.round, client=now.client
        )
        noise = noise_like(move, 2 * self.mechanism.clip * self.mechanism.noise, generator)
        noisy = {name: np.asarray(before[name] + move[name] + noise[name], sent[name].dtype) for name in names}
        return {**{name: before[name] for name in sent}, **noisy}, extra

    def weight(self, update: Any) -> float:
        """Return 1: counts do not leave."""
        return 1.0
