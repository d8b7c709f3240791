"""Which clients take part in a round: a pure function of (seed, round), so that any round can be replayed alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedmetric.config import Experiment
from fedmetric.errors import ConfigError
from fedmetric.seeds import numpy_generator


def draw_uniform(seed: int, round: int, num_clients: int, size: int) -> list[int]:
    """Draw the clients of a round without replacement, each round anew."""
    return _drawn(numpy_generator(seed, "cohort", round=round).choice(num_clients, size=size, replace=False))


def draw_reshuffled(seed: int, round: int, num_clients: int, size: int) -> list[int]:
    """Deal all clients out in a random order, cohort after cohort, then again in another order.

    After a whole number of passes every client has taken part equally often. Where the size does not divide the number
    of clients, the last cohort of a pass is smaller. Random reshuffling in place of sampling: Mishchenko, Khaled,
    Richtárik, Proximal and Federated Random Reshuffling, ICML 2022.
    """
    cohorts_in_a_pass = -(-num_clients // size)
    number, position = divmod(round - 1, cohorts_in_a_pass)
    order = numpy_generator(seed, "cohorts of a pass", round=number).permutation(num_clients)
    return _drawn(order[position * size : (position + 1) * size])


def draw_poisson(seed: int, round: int, num_clients: int, size: int) -> list[int]:
    """Draw every client by itself with probability size / num_clients: `size` clients on average, now and then none.

    What the amplification by sampling of differential privacy assumes.
    """
    drawn = numpy_generator(seed, "clients one by one", round=round).random(num_clients) < size / num_clients
    return _drawn(np.flatnonzero(drawn))


def _drawn(chosen: object) -> list[int]:
    return sorted(int(client) for client in chosen)  # type: ignore[attr-defined]


SAMPLING: dict[str, Callable[[int, int, int, int], list[int]]] = {
    "uniform": draw_uniform,
    "reshuffled": draw_reshuffled,
    "poisson": draw_poisson,
}


def draw_cohort(seed: int, round: int, num_clients: int, size: int, sampling: str = "uniform") -> list[int]:
    """Return the clients of a round in ascending order, which is also the order of aggregation.

    Args:
        seed: the experiment's seed.
        round: server round from 1.
        num_clients: clients in the federation.
        size: cohort size; 0 takes every client.
        sampling: "uniform", "reshuffled" or "poisson".

    Raises:
        ConfigError: the cohort is larger than the federation.
    """
    if size > num_clients:
        raise ConfigError(
            f"federation.clients_per_round={size} but the partition has {num_clients} clients; lower it, or 0 for all"
        )
    return SAMPLING[sampling](seed, round, num_clients, size) if size else list(range(num_clients))


def cohort_of(experiment: Experiment, round: int, num_clients: int, seed: int | None = None) -> list[int]:
    """Return the clients of a round of an experiment, drawn from its own seed or another; see `draw_cohort`."""
    federation = experiment.federation
    return draw_cohort(
        experiment.seed if seed is None else seed, round, num_clients, federation.clients_per_round, federation.sampling
    )
