"""Write clipped float vectors as unsigned 32-bit fixed point whose sums cannot overflow.

No coordinate is larger than the clip norm C. With n clients and L = floor((2^31 - 1) / n) levels on either side of
zero, C is written as L at most, so the sum of n vectors lies within 2^31 - 1 on either side, and modulo 2^32 it has one
reading as a signed number. Fewer clients than n may answer: the scale stays that of n.

Values are rounded to the nearest level, halves to even. A norm may exceed the clip norm by `TOLERANCE`, for vectors
that were scaled to it in float32; the levels reach that much further.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmetric.errors import ProtocolError

TOLERANCE = 1e-5
LARGEST_SUM = 2**31 - 1
ARITHMETIC = 2.0**-20
"""More than float64 adds to the rounding of a value below 2^31, in levels."""


def encode(vector: NDArray[Any], clip: float, num_clients: int) -> NDArray[np.uint32]:
    """Write one client's vector in fixed point.

    Args:
        vector: (N,) float32 or float64, of L2 norm at most `clip`.
        clip: the clip norm, positive.
        num_clients: how many such vectors are added up at most.

    Returns:
        (N,) uint32; negative numbers as their two's complement.

    Raises:
        ProtocolError: the vector is not flat, not of floats or not finite, its norm is beyond the clip norm, or
            the clip norm has no scale.
    """
    if vector.ndim != 1 or vector.dtype not in (np.float32, np.float64):
        raise ProtocolError(f"a vector of {vector.dtype} and shape {vector.shape}; it must be flat, float32 or float64")
    wide = vector.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ProtocolError(f"{int((~np.isfinite(wide)).sum())} of {len(wide)} values are not finite")
    with np.errstate(over="ignore"):  # an infinite norm is beyond every clip norm
        norm = float(np.linalg.norm(wide))
    if not norm <= clip * (1 + TOLERANCE):
        raise ProtocolError(f"a vector of norm {norm:.6g} is beyond the clip norm {clip:.6g}; clip it first")
    levels = np.rint(wide * levels_per_unit(clip, num_clients)).astype(np.int64)
    return levels.astype(np.uint32)


def decode(total: NDArray[np.uint32], clip: float, num_clients: int) -> NDArray[np.float64]:
    """Read the sum, modulo 2^32, of at most `num_clients` encoded vectors.

    Args:
        total: (N,) uint32.
        clip: that of `encode`.
        num_clients: that of `encode`.

    Returns:
        (N,) float64; each value within `quantisation_bound` of the plain sum.
    """
    return total.astype(np.uint32, copy=False).view(np.int32).astype(np.float64) / levels_per_unit(clip, num_clients)


def quantisation_bound(clip: float, num_clients: int, num_summed: int | None = None) -> float:
    """Return by how much a coordinate of a decoded sum may differ from the plain sum: half a level for each vector.

    Args:
        clip: that of `encode`.
        num_clients: that of `encode`.
        num_summed: vectors in the sum; all `num_clients` when not given. For the mean of m divide the bound by m.
    """
    summed = num_clients if num_summed is None else num_summed
    return summed * (0.5 + ARITHMETIC) / levels_per_unit(clip, num_clients)


def levels_per_unit(clip: float, num_clients: int) -> float:
    """Return the scale: how many levels are between 0 and 1.

    Raises:
        ProtocolError: the clip norm is not positive, not finite, or so extreme that the scale is no positive float.
    """
    scale = (LARGEST_SUM // num_clients) / (clip * (1 + TOLERANCE)) if clip > 0 else 0.0
    if not 0 < scale < np.inf:
        raise ProtocolError(
            f"clip norm {clip:.6g} has no fixed point of 32 bits; it must be positive, finite and no extreme"
        )
    return scale
