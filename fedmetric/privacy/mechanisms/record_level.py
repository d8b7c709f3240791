"""Record-level differential privacy in the client: DP-SGD, for losses of single images and, with care, for others.

Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, Deep Learning with Differential Privacy, CCS 2016, algorithm 1:
each image is in a step's batch with probability q = B / n by itself; gradients are clipped to an L2 norm of C, summed,
and get Normal(0, (z C)^2 I) before they are divided by B. A record is an image with its label and all its views.

That a gradient is clipped by record is worth something only if it depends on one record. Losses that compare the images
of a batch are no sums over records: removing one image changes the gradients of all others, and the sum moves by many
times C. So what is clipped is a choice, each with its own sensitivity and so its own price:

    record   the gradient of one image's loss; the loss must be decomposable             sensitivity C, z
    public   the gradient of one image's loss among public images                        sensitivity C, z
    group    the gradient of one group's loss; each image draws its group by itself      sensitivity 2 C, z / 2
    batch    the gradient of the whole batch's loss                                      sensitivity 2 C, z / 2

"public" follows from "record": the loss of {image} and public images is a function of one record. "group" and "batch"
replace one clipped vector by another when a record is added, hence 2 C; groups are drawn for each record independently,
so that adding one changes no other's group.

Clipping and noise are Opacus' (Yousefpour et al., Opacus: User-Friendly Differential Privacy Library in PyTorch,
arXiv:2109.12298). Gradients of portions are made one by one: slower than in one pass, right for every layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fedmetric.errors import ConfigError
from fedmetric.federation.base import FederationRule
from fedmetric.options import Count, NonNegative, OpenFraction, Positive
from fedmetric.privacy.accounting import Charge, noise_for, renyi_epsilon_of
from fedmetric.privacy.base import NOT_PRIVATE, ClippedSteps, Guarantee, Mechanism, Training
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.sharing import check_only_parameters_leave
from fedmetric.privacy.wrapping import WrappingRule, check_plain_mean
from fedmetric.registry import mechanisms

SENSITIVITY = {"record": 1.0, "public": 1.0, "group": 2.0, "batch": 2.0}
"""How far adding or removing one record moves the sum of clipped gradients, over C."""


@mechanisms.register("record-level")
class RecordLevel(Mechanism):
    """Hide whether an image was trained on, from the server too: clip and add noise in every step at the client."""

    unit = "record"
    hides = True
    covered = "noise in every step"

    def __init__(
        self,
        *,
        clip: Positive = 1.0,
        noise: NonNegative = 1.0,
        delta: OpenFraction = 1e-5,
        target_epsilon: NonNegative = 0.0,
        clipping: Literal["record", "public", "group", "batch"] = "record",
        group_size: Count = 4,
        seeded: bool = False,
    ) -> None:
        """Set the mechanism.

        Args:
            clip: C, the largest L2 norm of the gradient of a portion.
            noise: z, standard deviation of the noise over C; 0 only clips, and hides nothing.
            delta: probability of failure; well below one over a client's images.
            target_epsilon: epsilon of the whole run at every client, from which each works its noise out; 0 takes
                `noise` everywhere.
            clipping: whose gradient is clipped by itself: of an image, of an image among public ones, of a group of
                images, of the batch; the latter two cost as if the noise were half.
            group_size: images of a group, on average; with "public", public images beside each image.
            seeded: draw noise and batches from the experiment's seed: for tests, NOT PRIVATE.
        """
        self.clip, self.noise, self.delta, self.target_epsilon = clip, noise, delta, target_epsilon
        self.clipping, self.group_size, self.seeded = clipping, group_size, seeded
        self.needs_public = clipping == "public"

    def check(self, training: Training) -> None:
        """Refuse training in which a step's gradient is more than it seems; see `Mechanism.check`."""
        experiment, layout = training.experiment, training.layout
        check_plain_mean(training.rule, experiment.federation.rule.name, "record-level")
        check_only_parameters_leave(training, "record-level")
        if training.batch_statistics:
            raise ConfigError(
                "privacy 'record-level': BatchNorm mixes the images of a batch, so that no gradient belongs to one; "
                "set federation.norm to 'group_norm'"
            )
        if self.clipping == "record" and not training.decomposable:
            raise ConfigError(
                f"privacy 'record-level' with clipping by record: objective '{experiment.objective.name}' compares the "
                "images of a batch, so removing one image changes the gradients of all others and the guarantee would "
                "be void; use a proxy loss such as proxy-nca or arcface, set privacy.clipping to 'group', 'batch' or "
                "'public', or use privacy 'client-level'"
            )
        if self.clipping == "public" and training.labels:
            raise ConfigError(
                f"privacy.clipping = 'public' has no labels for public images, and objective "
                f"'{experiment.objective.name}' learns from labels; use another objective, or clipping by record"
            )
        if self.clipping == "public" and not experiment.public_classes:
            raise ConfigError(
                "privacy.clipping = 'public' compares each image with public ones; set public_classes above 0"
            )
        private = {name for name, group in layout.groups.items() if group in layout.private}
        if remembered := sorted(private - layout.parameters - layout.targets):
            raise ConfigError(
                f"privacy 'record-level': objective '{experiment.objective.name}' remembers images from one step to "
                f"the next ({remembered[0]}), which no noise covers; use another objective, or privacy 'client-level'"
            )
        self._check_local(training)

    def _check_local(self, training: Training) -> None:
        """Refuse local settings that look at more than one record.

        Raises:
            ConfigError: names the key.
        """
        local, rule = training.experiment.local, training.rule
        wrong = {
            "local.sampler": (local.sampler.name, "shuffled"),
            "local.class_weights": (local.class_weights, "none"),
            "local.proxy_init": (local.proxy_init, "random"),
            "local.spread_out": (local.spread_out, 0.0),
        }
        for key, (value, allowed) in wrong.items():
            if value != allowed:
                raise ConfigError(
                    f"privacy 'record-level': {key} = {value!r} looks at more than one image at a time; set it to "
                    f"{allowed!r}"
                )
        for method in ("penalty", "correct", "start"):
            if getattr(type(rule), method) is not getattr(FederationRule, method):
                raise ConfigError(
                    f"privacy 'record-level': federation.rule '{training.experiment.federation.rule.name}' changes "
                    "local steps in a way that is not accounted for; use fedavg, fedavgm, fedadam or fedyogi"
                )

    def around(self, rule: FederationRule, schedule: Schedule) -> FederationRule:
        """Let every client weigh 1; see `Mechanism.around`."""
        return EqualClients(rule)

    def steps(self, schedule: Schedule, num_images: int) -> ClippedSteps:
        """See `Mechanism.steps`."""
        size = min(schedule.batch_size, num_images)
        return ClippedSteps(
            self.clip, self.noise_of(schedule, num_images), size / num_images, size, self.clipping, self.group_size,
            self.seeded,
        )  # fmt: skip

    def noise_of(self, schedule: Schedule, num_images: int) -> float:
        """Return the noise multiplier of a client with so many images."""
        if not self.target_epsilon:
            return self.noise
        rate, times = min(1.0, schedule.batch_size / num_images), _steps(schedule, num_images) * schedule.rounds
        return SENSITIVITY[self.clipping] * noise_for(self.target_epsilon, self.delta, rate, max(1, times))

    def charge_of(self, schedule: Schedule, num_images: int) -> Charge:
        """Return what one participation costs; see `Mechanism.charge_of`."""
        rate = min(1.0, schedule.batch_size / num_images)
        noise = self.noise_of(schedule, num_images) / SENSITIVITY[self.clipping]
        return Charge(noise, rate, _steps(schedule, num_images))

    def charges(self, schedule: Schedule, cohort: Sequence[int]) -> Mapping[str, Charge]:
        """Charge each client whose images are known here; others keep ledgers of their own."""
        if not schedule.images:
            return {}
        known = {client: schedule.images[client] for client in cohort}
        return {str(client): self.charge_of(schedule, images) for client, images in known.items() if images}

    def planned(self, schedule: Schedule) -> Sequence[Charge]:
        """Return the charges of the client that pays most; none where the clients' images are not known here."""
        charges = [self.charge_of(schedule, images) for images in sorted(set(schedule.images)) if images]
        whole = [Charge(charge.noise, charge.rate, charge.times * schedule.rounds) for charge in charges]
        worst = max(whole, key=lambda charge: renyi_epsilon_of([charge], self.delta), default=None)
        return () if worst is None else (worst,)

    def loudness(self, schedule: Schedule, parameters: int) -> float:
        """Return z sqrt(d) over the portions of a step; see `Mechanism.loudness`."""
        images = min((count for count in schedule.images if count), default=schedule.batch_size)
        steps = self.steps(schedule, images)
        return steps.noise * math.sqrt(parameters) * steps.portion_size / steps.batch_size

    def guarantee(self, schedule: Schedule) -> Guarantee:
        """See `Mechanism.guarantee`."""
        label = f"{NOT_PRIVATE}: no noise" if self.noise == 0 and not self.target_epsilon else ""
        if self.seeded and not label:
            label = f"{NOT_PRIVATE}: noise and batches follow from the experiment's seed"
        return Guarantee(
            "record",
            "the server, and whoever sees what it sees",
            "the contribution of one image of a client, with its label and all its views, there or left out",
            self.delta,
            label,
            "how many images and which classes a client has is taken as known, that it takes part and how fast it "
            "answers is not hidden; several images of one person are several records; what several runs on the same "
            "images spend together is not counted here",
        )


class EqualClients(WrappingRule):
    """Average clients as equals: how many images they trained on does not leave."""

    def weight(self, update: Any) -> float:
        """Return 1."""
        return 1.0


def _steps(schedule: Schedule, num_images: int) -> int:
    """Return the steps of one participation, as the training loop takes them."""
    return schedule.epochs * (num_images // min(schedule.batch_size, num_images))
