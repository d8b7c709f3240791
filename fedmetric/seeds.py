"""Random generators that are a pure function of (seed, purpose, round, client, step).

No part of the library draws from a process-global generator that was not seeded from here and put back afterwards, so
any single step of any round can be replayed alone and the engine, the number of workers and the order of replies cannot
change a result.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, purpose: str, *, round: int = 0, client: int = 0, step: int = 0) -> int:
    """Hash the five coordinates of a random choice into a non-negative 63-bit integer.

    Args:
        seed: the experiment's seed.
        purpose: what the numbers are for, such as "views" or "cohort"; equal coordinates with another purpose are
            independent.
        round: server round from 1; 0 for choices made outside rounds.
        client: index of the data partition.
        step: local step from 0 within the round.
    """
    coordinates = f"{int(seed)}|{purpose}|{int(round)}|{int(client)}|{int(step)}"
    digest = hashlib.blake2b(coordinates.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def torch_generator(seed: int, purpose: str, *, round: int = 0, client: int = 0, step: int = 0) -> torch.Generator:
    """Return a CPU torch generator for one random choice; see `derive_seed`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, purpose, round=round, client=client, step=step))


def numpy_generator(seed: int, purpose: str, *, round: int = 0, client: int = 0, step: int = 0) -> np.random.Generator:
    """Return a NumPy generator for one random choice; see `derive_seed`."""
    return np.random.default_rng(derive_seed(seed, purpose, round=round, client=client, step=step))
