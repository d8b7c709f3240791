"""A lower bound on epsilon from one run: the images that were set aside are its canaries, each in or out by a coin.

The relation is that of records: one image more or less. A claim about clients covers it too. Where neighbours differ by
one client more or less, a client with one image more is one taken out and one put in: twice the epsilon at
(1 + e^epsilon) times the delta. A bound above what is covered means that the privacy code is broken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fedmetric.privacy.audit.broken import require_epsilon
from fedmetric.privacy.audit.membership import view_similarity
from fedmetric.privacy.audit.one_run import ceiling, epsilon_lower_bound, right_guesses
from fedmetric.seeds import numpy_generator, torch_generator
from fedmetric.simulations.audits.finding import Finding
from fedmetric.simulations.audits.membership import VIEWS
from fedmetric.simulations.audits.subject import MOST, Subject

GUESSED = 0.1
"""Share of the canaries that are guessed, fixed beforehand: half of them in, half of them out."""
DELTA = 1e-5
SURE = 0.001
"""Significance of the bound that may call the code broken; the figure itself has 0.05."""


def one_run(subject: Subject) -> Iterator[Finding]:
    """Guess which canaries were in; refuse a claim that the guesses rule out.

    Raises:
        BrokenGuaranteeError: the bound is above what the run claims.
    """
    pool, seed = subject.pool, subject.experiment.seed
    chosen = numpy_generator(seed, "canaries").permutation(len(pool.rows))[: 2 * MOST]
    images, included = subject.pixels(pool.rows[chosen]), pool.included[chosen]
    generator = torch_generator(seed, "views of an attack")
    scores = view_similarity(subject.model.embed, images, subject.site.trainer.views, VIEWS, generator)
    count = len(chosen)
    guesses = 2 * max(1, round(GUESSED * count / 2))
    right = right_guesses(np.asarray(scores), included, guesses, numpy_generator(seed, "ties of guesses"))
    claimed = subject.spending.get("epsilon")
    delta = subject.spending.get("delta", DELTA)
    bound = epsilon_lower_bound(count, guesses, right, delta)
    note = f"{right} of {guesses} guesses right, delta {delta:g}"
    if claimed is not None:
        covered, at = covered_of_a_record(subject.spending)
        note += f"; at most {covered:.3g} is claimed at delta {at:.3g}" if at < 1 else "; of images nothing is claimed"
        if not subject.spending["label"] and at < 1:
            require_epsilon("one-run audit", epsilon_lower_bound(count, guesses, right, at, SURE), covered)
    yield Finding("one run", "trained", "epsilon >=", bound, None, None, 0.0, ceiling(count, delta), count, note)


def covered_of_a_record(claim: Mapping[str, Any]) -> tuple[float, float]:
    """Return epsilon and delta of one image more or less that a claim covers."""
    epsilon, delta = float(claim["epsilon"]), float(claim["delta"])
    if claim["unit"] == "client" and not claim["replacing"]:
        return 2 * epsilon, (1 + math.exp(min(epsilon, 700.0))) * delta
    return epsilon, delta
