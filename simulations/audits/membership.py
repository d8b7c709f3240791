"""Membership inference on the encoder, with the two controls without which it proves nothing.

The negative control is an untrained encoder, which has seen no image: 0.5 must lie in its interval. The positive
control was trained to tell a few of the images from one another, for many passes: its interval must lie above 0.5. The
calibrated attack subtracts what a shadow encoder, trained on images that nobody else was trained on, says of the same
views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmetric.errors import UsageError
from fedmetric.privacy.audit.intervals import Attack
from fedmetric.privacy.audit.membership import calibrated_similarity, controls_work, view_similarity
from fedmetric.seeds import torch_generator
from fedmetric.simulations.audits.finding import Finding
from fedmetric.simulations.audits.subject import Subject

VIEWS = 10
OVERFITTED, PASSES, RATE = 100, 800, 3e-3
"""Images of the positive control, passes over them, and its learning rate."""
SHADOWED, SHADOW_PASSES = 400, 30
"""Images of the shadow encoder, and passes over them."""
Score = Callable[[Tensor], NDArray[np.float64]]


def membership(subject: Subject) -> Iterator[Finding]:
    """Attack the trained encoder and both controls."""
    members, others = subject.rows(True), subject.rows(False)
    if min(len(members), len(others)) < 2 * OVERFITTED:
        raise UsageError(
            f"{len(members)} and {len(others)} images were set aside; at least {2 * OVERFITTED} of each are needed: "
            "raise audit_share"
        )
    shadowed = min(SHADOWED, len(others) // 2)
    shadow_rows, others = others[:shadowed], others[shadowed:]
    views = subject.site.trainer.views
    inside, outside = subject.pixels(members), subject.pixels(others)

    def attacked(name: str, embed: Callable[[Tensor], Tensor], seen: Tensor) -> Attack:
        def score(images: Tensor) -> NDArray[np.float64]:
            return view_similarity(embed, images, views, VIEWS, generator())

        return Attack.of(name, score(seen), score(outside))

    def generator() -> torch.Generator:
        return torch_generator(subject.experiment.seed, "views of an attack")

    some = members[:OVERFITTED]
    negative = attacked("untrained", subject.untrained().embed, inside)
    positive = attacked("overfitted", subject.overfitted_to(some, PASSES, RATE).embed, subject.pixels(some))
    trained = attacked("trained", subject.model.embed, inside)
    proves = controls_work(negative, positive)
    for attack, note in (
        (negative, "negative control: has seen no image"),
        (positive, f"positive control: {PASSES} passes over {OVERFITTED} images"),
        (trained, "" if proves else "PROVES NOTHING: a control did not come out as it must"),
    ):
        yield from findings_of(attack, note)
    shadow = subject.trained_on(shadow_rows, SHADOW_PASSES)

    def calibrated(images: Tensor) -> NDArray[np.float64]:
        return calibrated_similarity(subject.model.embed, [shadow.embed], images, views, VIEWS, generator())

    note = f"shadow: {SHADOW_PASSES} passes over {len(shadow_rows)} other images"
    yield from findings_of(Attack.of("calibrated", calibrated(inside), calibrated(outside)), note)


def findings_of(attack: Attack, note: str) -> Iterator[Finding]:
    """Return the AUC of an attack, and its true positive rate at one false positive in a hundred."""
    count = attack.n_members + attack.n_others
    yield Finding("membership", attack.name, "AUC", attack.auc, attack.auc_low, attack.auc_high, 0.5, 1.0, count, note)
    yield Finding(
        "membership", attack.name, "TPR@1%", attack.tpr, attack.tpr_low, attack.tpr_high, attack.fpr, attack.ceiling,
        attack.n_members, note if attack.tpr is not None else "fewer than 100 others",
    )  # fmt: skip
