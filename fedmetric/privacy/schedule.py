"""How often whose data is used in a run: what every epsilon depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedmetric.config import Experiment


@dataclass(frozen=True)
class Schedule:
    """The use of data that an experiment plans.

    Attributes:
        num_clients: in the federation.
        cohort: clients that a round has, on average under Poisson sampling.
        rounds: server rounds.
        batch_size: images that a client's step has, on average under Poisson sampling.
        epochs: passes of one round.
        images: how many images each client has; empty where that is not known.
        seed: of the experiment.
    """

    num_clients: int
    cohort: int
    rounds: int
    batch_size: int
    epochs: int
    images: Sequence[int] = ()
    seed: int = 0

    @property
    def rate(self) -> float:
        """The probability with which a client takes part in a round."""
        return min(1.0, self.cohort / self.num_clients)


def schedule_of(experiment: Experiment, num_clients: int, images: Sequence[int] = ()) -> Schedule:
    """Return the schedule of an experiment with so many clients."""
    federation, local = experiment.federation, experiment.local
    cohort = federation.clients_per_round or num_clients
    return Schedule(
        num_clients, cohort, federation.rounds, local.batch_size, local.epochs, tuple(images), experiment.seed
    )
