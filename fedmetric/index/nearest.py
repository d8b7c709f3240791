"""Exact search: every row of a gallery is compared, what ties comes in the order of the gallery.

A first pass compares in float32 and keeps, beside the nearest, all rows that its rounding could have put behind them; a
second one measures what was kept in float64.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.evaluation.embeddings import Distance, normalise, placed

BLOCK_BYTES = 64 * 2**20
PAIR_ELEMENTS = 2**20
"""Coordinates of pairs that a distance without a geometry sees at once."""
UNIT = 2.0**-24
"""Half of the distance from 1 to the next float32."""
TIE = 2.0**-48
"""Distances that differ by less, or by this share of them, are taken as equal: float64 sums of equal rows may."""


class Gallery:
    """Embeddings that are searched again and again."""

    def __init__(self, vectors: Tensor, distance: PairDistance) -> None:
        """Take embeddings, on the CPU.

        Args:
            vectors: (G, D) float32, no zero rows.
            distance: what the network was trained for.
        """
        self.vectors = vectors
        self.distance = distance

    @cached_property
    def _where_compared(self) -> tuple[Tensor, Distance]:
        (rows,), order = placed(self.vectors, distance=self.distance)
        return normalise(rows.double(), order).float() if order == "cosine" else rows.float(), order

    @cached_property
    def _squares(self) -> Tensor:
        """The squared lengths of the rows where they are compared: (G,)."""
        return self._where_compared[0].square().sum(dim=1)

    @torch.no_grad()
    def nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find the nearest rows for each query.

        Args:
            queries: (Q, D) float, no zero rows.
            count: rows to find; fewer where the gallery is smaller.

        Returns:
            (Q, K) int64 rows, the nearest first, and (Q, K) float64 their distances, K = min(count, G).
        """
        count = min(count, len(self.vectors))
        rows = torch.empty(len(queries), count, dtype=torch.int64)
        far = torch.empty(len(queries), count, dtype=torch.float64)
        if not rows.numel():
            return rows, far
        block = max(1, BLOCK_BYTES // (4 * len(self.vectors)))
        for start in range(0, len(queries), block):
            part = queries[start : start + block]
            nearness, slack = self._nearness(part)
            last = nearness.topk(count).values[:, -1:]
            for line, kept in enumerate(nearness >= last - slack):
                places = torch.nonzero(kept).flatten()
                away = self._measure(part[line : line + 1].double(), places)[0]
                order = _in_order(away)[:count]
                rows[start + line], far[start + line] = places[order], away[order]
        return rows, far

    def _nearness(self, queries: Tensor) -> tuple[Tensor, float]:
        """Compare with all rows: (Q, G), larger is nearer, and how much of it may be rounding.

        A scalar product of D terms is off by at most D u |x| |y|, u half the spacing of float32 at 1 (Higham, Accuracy
        and Stability of Numerical Algorithms, 2002, section 3.1); coordinates were rounded before, which adds 2 u.
        """
        gallery, order = self._where_compared
        if isinstance(order, PairDistance):
            return -self._measure(queries.double(), torch.arange(len(gallery))), TIE
        (asked,), _ = placed(queries, distance=self.distance)
        if order == "cosine":
            asked = normalise(asked.double(), order)
        product = asked.float() @ gallery.T
        rounding = (gallery.shape[1] + 4) * UNIT
        if order == "cosine":
            return product, 2 * rounding
        longest = max(float(self._squares.max()), float(asked.square().sum(dim=1).max()))
        return 2 * product - self._squares, 8 * rounding * longest

    def _measure(self, queries: Tensor, places: Tensor) -> Tensor:
        """Return the distances to some rows: (Q, D) float64 and (P,) int64 to (Q, P) float64."""
        tile = max(1, PAIR_ELEMENTS // max(1, queries.numel()))
        tiles = [self.distance(queries, self.vectors[part].double()) for part in torch.split(places, tile)]
        return torch.cat(tiles, dim=1)


def _in_order(away: Tensor) -> Tensor:
    """Return the places of (P,) distances, the smallest first, those that are as good as equal in their own order."""
    by_distance = away.argsort(stable=True)
    ascending = away[by_distance]
    apart = ascending.diff() > TIE * ascending[1:].clamp(min=1)
    group = torch.empty_like(by_distance)
    group[by_distance] = torch.cat([torch.zeros(1, dtype=torch.int64), apart.cumsum(dim=0)])
    return group.argsort(stable=True)
