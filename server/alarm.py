"""Tell a collapse of the embedding space from its figures, and name the likely cause.

A space has collapsed when its points differ little from one another: std sqrt(D), 1 for an even sphere and 0 for one
point, is compared with that of the untrained network. The effective rank is shown beside it but is no gate: it may fall
in a run that learns well.
"""

from __future__ import annotations

from collections.abc import Mapping

SMALLEST_STD = 0.05
SHARE_OF_UNTRAINED = 0.25
LARGEST_GAP = 0.3
WARM_UP_BATCHES = 60
"""Batches that running statistics must have seen before a misfit is held against them: 0.9^60 is below 0.2 %."""
PATIENCE = 3
"""Rounds in a row that a collapse must last."""


class CollapseAlarm:
    """Goes off once a collapse has lasted for `PATIENCE` rounds."""

    def __init__(self, untrained: Mapping[str, float]) -> None:
        """Start quiet.

        Args:
            untrained: diagnostics of the untrained network.
        """
        self._limit = limit_of(untrained)
        self._rounds = 0

    def check(
        self, aggregated: Mapping[str, float], clients: Mapping[str, float], drift: Mapping[str, float]
    ) -> str | None:
        """Take in a round's figures; return the cause when the alarm goes off; see `collapse_cause`."""
        cause = collapse_cause(aggregated, clients, drift, self._limit)
        self._rounds = self._rounds + 1 if cause else 0
        return cause if self._rounds >= PATIENCE else None


def limit_of(untrained: Mapping[str, float]) -> float:
    """Return the deviation below which a space has collapsed, given the untrained network's diagnostics."""
    return max(SMALLEST_STD, SHARE_OF_UNTRAINED * untrained.get("std", 0.0))


def collapse_cause(
    aggregated: Mapping[str, float], clients: Mapping[str, float], drift: Mapping[str, float], limit: float
) -> str | None:
    """Say that the aggregated model has collapsed and why, with what to change; None where it has not.

    Args:
        aggregated: "std" with running statistics, "batch_std" with those of the batch, their "norm_gap", and the
            "batches" that the running statistics have seen.
        clients: means over the clients of their own diagnostics in training; "std" among them.
        drift: "drift_cosine" between clients' moves.
        limit: see `limit_of`.
    """
    std = aggregated.get("std")
    if std is None or std >= limit:
        return None
    found = f"the embedding space has collapsed (std {std:.3f}, below {limit:.3f})"
    if aggregated.get("norm_gap", 0.0) > LARGEST_GAP and aggregated.get("batch_std", 0.0) >= limit:
        if aggregated.get("batches", WARM_UP_BATCHES) < WARM_UP_BATCHES:
            return None
        return (
            f"{found} only with running statistics (with the batch's own: {aggregated['batch_std']:.3f}): they do not "
            "fit the averaged weights; set federation.norm to 'recalibrate' or 'group_norm'"
        )
    if clients.get("std", 1.0) < limit:
        return (
            f"{found} at the clients too (std {clients['std']:.3f}): local training itself collapses; lower local.lr, "
            "enlarge local.batch_size, or choose an objective with negatives or a decorrelation term"
        )
    apart = f" (cosine between their moves {drift['drift_cosine']:.2f})" if "drift_cosine" in drift else ""
    return (
        f"{found} but not at the clients (std {clients.get('std', float('nan')):.3f}): averaging undoes what they learn"
        f"{apart}; lower local.epochs or local.lr, or take a rule that holds clients together, such as fedprox"
    )
