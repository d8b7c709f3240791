"""Which clients take part in a round: a pure function of (seed, round), so that any round can be replayed alone."""

from __future__ import annotations

from fedmetric.errors import ConfigError
from fedmetric.seeds import numpy_generator


def draw_cohort(seed: int, round: int, num_clients: int, size: int) -> list[int]:
    """Draw the clients of a round without replacement, in ascending order, which is also the order of aggregation.

    Args:
        seed: the experiment's seed.
        round: server round from 1.
        num_clients: clients in the federation.
        size: cohort size; 0 takes every client.

    Raises:
        ConfigError: the cohort is larger than the federation.
    """
    if size == 0:
        return list(range(num_clients))
    if size > num_clients:
        raise ConfigError(
            f"federation.clients_per_round={size} but the partition has {num_clients} clients; lower it, or 0 for all"
        )
    chosen = numpy_generator(seed, "cohort", round=round).choice(num_clients, size=size, replace=False)
    return sorted(int(client) for client in chosen)
