"""What an evaluation returns: scores with their count and interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Embed = Callable[[Tensor], Tensor]
"""Maps (B, C, H, W) float images in [0, 1] to (B, D) float embeddings, in eval mode and without gradients."""

Z95 = 1.96


@dataclass(frozen=True)
class Score:
    """One measured figure.

    Attributes:
        mean: the figure, or None where nothing was left to measure.
        ci95: half-width of its 95 % interval, 1.96 s / sqrt(n) with s the sample deviation (ddof 1); None below two
            values.
        n: values that the mean is over: queries, episodes, test images, classes or embeddings.
        skipped: images left out because they have no label or because too few others share their class.
    """

    mean: float | None
    ci95: float | None
    n: int
    skipped: int = 0

    @classmethod
    def of(cls, values: NDArray[np.floating], skipped: int = 0) -> Score:
        """Summarise per-query or per-episode values, (N,) float."""
        if len(values) == 0:
            return cls(None, None, 0, skipped)
        values = np.asarray(values, dtype=np.float64)
        interval = float(Z95 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        return cls(float(values.mean()), interval, len(values), skipped)


Scores = Mapping[str, Score]
