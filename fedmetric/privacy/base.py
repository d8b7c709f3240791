"""What a privacy mechanism is: what it changes in training, what that costs, and what may be claimed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from fedmetric.config import Experiment
from fedmetric.federation.base import FederationRule, Update
from fedmetric.layout import Layout, Routes
from fedmetric.privacy.accounting import Charge
from fedmetric.privacy.schedule import Schedule

NOT_PRIVATE, EXTRAPOLATED = "NOT PRIVATE", "extrapolated"


@dataclass(frozen=True)
class Guarantee:
    """What may be claimed for a run, and no more.

    Attributes:
        unit: what is hidden: "client", or "record" (an image with all its views).
        adversary: who may look at what.
        neighbours: the two collections of data that cannot be told apart.
        delta: probability of failure.
        label: "" for a guarantee; "NOT PRIVATE: why" or "extrapolated: to what" for a figure that is none.
        limits: what is not covered, in words.
        replacing: whether neighbours differ by replacing a unit; else by one more or one less.
    """

    unit: str
    adversary: str
    neighbours: str
    delta: float
    label: str = ""
    limits: str = ""
    replacing: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ClippedSteps:
    """How local steps are made private.

    Attributes:
        clip: largest L2 norm of the gradient of a portion, C.
        noise: standard deviation of the noise over C, z.
        rate: probability of an image to be in a step's batch, q.
        batch_size: images of a batch, on average, B.
        clipping: what a portion is: "record", "public", "group" or "batch".
        group_size: images of a group, on average, or public images beside each image.
        seeded: whether noise and batches follow from the experiment's seed.
    """

    clip: float
    noise: float
    rate: float
    batch_size: int
    clipping: str
    group_size: int
    seeded: bool

    @property
    def portion_size(self) -> float:
        """The images whose gradient is clipped together, on average; public ones are not counted."""
        return {"group": float(self.group_size), "batch": float(self.batch_size)}.get(self.clipping, 1.0)


@dataclass(frozen=True)
class Training:
    """What a mechanism must know of the training that it is to make private.

    Attributes:
        experiment: the whole of it.
        layout: what every tensor is.
        routes: which tensors travel.
        rule: the federation rule.
        batch_statistics: whether the network, its heads included, has BatchNorm layers.
        decomposable: whether the loss is a mean over terms that see one image each.
        labels: whether the loss learns from labels.
    """

    experiment: Experiment
    layout: Layout
    routes: Routes
    rule: FederationRule
    batch_statistics: bool
    decomposable: bool
    labels: bool = False


class Mechanism:
    """Something that makes training private; the base class does nothing and claims nothing.

    Subclasses take keyword-only options. Class attributes are literals; see `Objective`.

    Attributes:
        unit: what is hidden: "client" or "record"; "" for no claim.
        poisson: whether cohorts must be drawn by Poisson sampling, or hold everybody.
        hides: whether clients send neither counts nor metrics.
        fixed_denominator: whether a round counts however many clients replied: whether it does must not depend on the
            data of any.
        needs_public: whether everybody must have public images.
        covered: what an update is protected by when it leaves its client, in words; "" for nothing.
    """

    unit: ClassVar[str] = ""
    poisson: ClassVar[bool] = False
    hides: ClassVar[bool] = False
    fixed_denominator: ClassVar[bool] = False
    needs_public: bool = False
    covered: ClassVar[str] = ""

    def check(self, training: Training) -> None:
        """Refuse training whose guarantee would be void.

        Raises:
            ConfigError: says why, and what to change.
        """

    def around(self, rule: FederationRule, schedule: Schedule) -> FederationRule:
        """Return the rule with whatever the mechanism does before and after it."""
        return rule

    def steps(self, schedule: Schedule, num_images: int) -> ClippedSteps | None:
        """Return how a client with so many images takes its local steps; None for plainly."""
        return None

    def cohort_seed(self, seed: int) -> int:
        """Return what cohorts are drawn from."""
        return seed

    def outgoing(self, update: Update) -> Update:
        """Return what may leave a client of its update: under a mechanism that hides, no counts and no metrics."""
        return replace(update, num_examples=1, metrics={}) if self.hides else update

    def charge_of(self, schedule: Schedule, num_images: int) -> Charge | None:
        """Return what one participation costs the units of a client with so many images; None where only the server
        accounts."""
        return None

    def charges(self, schedule: Schedule, cohort: Sequence[int]) -> Mapping[str, Charge]:
        """Return what a round with this cohort costs, by account: "" is every unit of the federation."""
        return {}

    def planned(self, schedule: Schedule) -> Sequence[Charge]:
        """Return the charges of a whole run to the unit that pays most."""
        return ()

    def loudness(self, schedule: Schedule, parameters: int) -> float:
        """Return the expected norm of the noise on a round's mean over the clip norm, for so many shared numbers."""
        return 0.0

    def clients_needed(self, loudness: float, cohort: int) -> int | None:
        """Return the clients of a round that would bring the loudness to 1; None where they do not matter."""
        return None

    def guarantee(self, schedule: Schedule) -> Guarantee | None:
        """Return what may be claimed; None for nothing."""
        return None

    def settled(self, schedule: Schedule) -> Mapping[str, Any]:
        """Return options that follow from the others and the schedule, such as the noise for an epsilon."""
        return {}
