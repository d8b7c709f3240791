"""Where the randomness of privacy comes from: the operating system, and never the experiment's seed.

Whoever can draw the noise again can take it away, and whoever knows which clients were drawn gets no amplification by
sampling; the seed stands in the run's folder. So noise and cohorts of a private run come from a fresh secret, which is
forgotten. The price: a private run cannot be repeated bit by bit.

Gaussians are drawn in double precision by NumPy's PCG64, which is seeded with 256 bits but is no cryptographic
generator, and floating-point Gaussians leak through their lowest bits (Mironov, On Significance of the Least
Significant Bits for Differential Privacy, CCS 2012); weights are rounded to float32 afterwards, which hides many of
these bits and not provably all. The epsilon is that of the mechanism over real numbers.
"""

from __future__ import annotations

import secrets

import numpy as np

from fedmetric.seeds import numpy_generator


def private_generator(seed: int, seeded: bool, purpose: str, *, round: int = 0, client: int = 0) -> np.random.Generator:
    """Return a generator that nobody can rebuild, or with `seeded` the one that follows from the seed: NOT PRIVATE."""
    if seeded:
        return numpy_generator(seed, purpose, round=round, client=client)
    return np.random.default_rng(secrets.randbits(256))
