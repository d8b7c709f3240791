"""Canary clients: random directions that took part in training as clients of their own, found again in the weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedmetric.errors import UsageError
from fedmetric.federation.robust import trained
from fedmetric.privacy.audit.broken import require_epsilon
from fedmetric.privacy.audit.canary_clients import cosines, estimate, rate_bound
from fedmetric.privacy.canaries import directions
from fedmetric.simulations.audits.finding import Finding
from fedmetric.simulations.audits.one_run import DELTA, SURE
from fedmetric.simulations.audits.subject import Subject

ABSENT = 1000
"""Directions of the same kind that took no part."""


def canary_clients(subject: Subject) -> Iterator[Finding]:
    """Compare the cosines of canaries that took part with those of directions that did not.

    Raises:
        UsageError: the run had no canary clients.
        BrokenGuaranteeError: the bound is above what the run claims.
    """
    count = subject.experiment.privacy.options().get("canary_clients", 0)
    if not count:
        raise UsageError("the run had no canary clients: run it with privacy.canary_clients, for example 100")
    first = subject.site.beginning()
    names = trained(subject.site.trainer.embedder.layout, first)
    step = np.concatenate([(subject.weights[name].astype(np.float64) - first[name]).ravel() for name in names])
    seed = subject.experiment.seed
    inside = np.concatenate([cosines(row[None], step) for row in directions(seed, range(count), len(step))])
    absent = range(count, count + ABSENT)
    outside = np.concatenate([cosines(row[None], step) for row in directions(seed, absent, len(step))])
    delta = subject.spending.get("delta", DELTA)
    found = estimate(inside, len(step), delta)
    claimed = subject.spending.get("epsilon")
    said = "" if claimed is None else f"; claimed {claimed:.3g}"
    yield Finding(
        "canary clients", "trained", "epsilon ~", found.epsilon, chance=0.0, n=count,
        note=f"an estimate and no bound, delta {delta:g}{said}",
    )  # fmt: skip
    threshold = 2 / np.sqrt(len(step))
    if claimed is not None and not subject.spending["label"]:
        require_epsilon("canary clients", rate_bound(inside, outside, threshold, delta, SURE), claimed)
    bound = rate_bound(inside, outside, threshold, delta)
    perfect = rate_bound(np.ones(count), np.zeros(ABSENT), 0.5, delta)
    yield Finding(
        "canary clients", "trained", "epsilon >=", bound, chance=0.0, ceiling=perfect, n=count,
        note=f"if canaries are independent trials{said}",
    )  # fmt: skip
