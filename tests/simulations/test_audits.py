"""Attacks on real runs: the controls come out as they must, a planted bug is caught, and what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmetric.errors import UsageError
from fedmetric.privacy.audit.broken import BrokenGuaranteeError
from fedmetric.simulations.audits import membership, one_run
from fedmetric.simulations.audits.audit import AUDIT, audit_run
from fedmetric.simulations.audits.finding import Finding
from fedmetric.simulations.audits.subject import Subject
from fedmetric.simulations.launch import start_run
from tiny import tiny

SMALL = (
    "audit_share=0.6", "evaluation.every=0", "evaluation.tasks=['retrieval']", "federation.norm=group_norm",
    "local.batch_size=64", "federation.rounds=1",
)  # fmt: skip


def run(folder: Path, *overrides: str) -> Path:
    start_run(tiny(*SMALL, *overrides), folder, lambda event: None, workers=1)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("plain") / "run", "model.width=32")


def values(found: list[Finding]) -> dict[tuple[str, str, str], Finding]:
    return {(finding.attack, finding.subject, finding.measure): finding for finding in found}


def test_images_under_audit_are_in_or_out_by_a_coin_and_the_others_are_all_in(plain: Path) -> None:
    subject = Subject(plain)
    pool, site = subject.pool, subject.site
    trained_on = np.concatenate(site.parts)
    assert set(pool.rows[pool.included]) <= set(trained_on)
    assert not set(pool.rows[~pool.included]) & set(trained_on)
    assert len(trained_on) + int((~pool.included).sum()) == len(site.training_images)
    assert 0.4 < pool.included.mean() < 0.6
    assert len(pool.rows) == sum(round(0.6 * count) for count in np.bincount(pool_owners(site)))


def pool_owners(site: Any) -> np.ndarray:
    return np.repeat(np.arange(len(site._whole_parts)), [len(part) for part in site._whole_parts])


def test_membership_has_both_controls_and_they_come_out_as_they_must(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The untrained encoder at one half, the overfitted one at 0.65 or more, the trained one between them."""
    monkeypatch.setattr(membership, "SHADOW_PASSES", 2)
    found = values(list(membership.membership(Subject(plain))))
    negative, positive, trained = (
        found[("membership", name, "AUC")] for name in ("untrained", "overfitted", "trained")
    )
    assert negative.low is not None
    assert negative.high is not None
    assert negative.low <= 0.5 <= negative.high
    assert positive.value is not None
    assert positive.low is not None
    assert positive.value >= 0.65
    assert positive.low > 0.5
    assert trained.value is not None
    assert trained.value < positive.value
    assert trained.note == ""
    assert ("membership", "calibrated", "AUC") in found


def test_an_attack_whose_control_fails_says_that_it_proves_nothing(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PASSES", 1), ("SHADOW_PASSES", 1), ("RATE", 1e-6)):
        monkeypatch.setattr(membership, name, value)
    found = values(list(membership.membership(Subject(plain))))
    assert found[("membership", "trained", "AUC")].note.startswith("PROVES NOTHING")


def test_all_attacks_are_written_down_and_those_that_cannot_be_made_say_why(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "PASSES", 1)
    monkeypatch.setattr(membership, "SHADOW_PASSES", 1)
    told: list[str] = []
    found = values(audit_run(plain, tell=told.append))
    assert len(told) == 6
    assert found[("canary-clients", "trained", "")].note.startswith("not made: the run had no canary clients")
    assert found[("embedding inversion", "trained", "identified")].n == 200
    inverted = found[("update inversion", "trained", "identified")]
    assert inverted.value is not None
    assert inverted.chance == pytest.approx(1 / 200)
    written = json.loads((plain / AUDIT).read_text())["findings"]
    assert [Finding(**row) for row in written] == list(found.values())


def test_an_attack_that_was_asked_for_and_cannot_be_made_is_refused(plain: Path) -> None:
    with pytest.raises(UsageError, match=r"the run had no canary clients: run it with privacy.canary_clients"):
        audit_run(plain, ["canary-clients"])
    with pytest.raises(UsageError, match="no attack 'member'; did you mean 'membership'"):
        audit_run(plain, ["member"])


def test_a_run_that_set_nothing_aside_cannot_be_attacked_by_membership(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "audit_share=0")
    with pytest.raises(UsageError, match=r"run it with audit_share above 0, for example 0.5"):
        audit_run(folder, ["membership"])


def test_a_run_without_a_model_cannot_be_attacked(tmp_path: Path) -> None:
    from fedmetric.runs import RunFolder

    RunFolder.create(tmp_path / "run", tiny(*SMALL))
    with pytest.raises(UsageError, match="has no trained model yet"):
        audit_run(tmp_path / "run")


CANARIES = (
    "privacy=client-level", "privacy.canary_clients=100", "privacy.delta=1e-2", "partition.clients=3",
    "privacy.seeded=true",
)  # fmt: skip


def canaries(folder: Path, *overrides: str) -> dict[tuple[str, str, str], Finding]:
    return values(audit_run(run(folder, *CANARIES, *overrides), ["canary-clients"]))


def test_canary_clients_find_little_noise_and_lose_themselves_in_much(tmp_path: Path) -> None:
    """Both directions: with hardly any noise the audit shows a large epsilon, with a lot of it none."""
    quiet = canaries(tmp_path / "quiet", "privacy.noise=0.01")[("canary clients", "trained", "epsilon >=")]
    loud = canaries(tmp_path / "loud", "privacy.noise=30")[("canary clients", "trained", "epsilon >=")]
    assert quiet.value is not None
    assert loud.value is not None
    assert quiet.value > 2.0
    assert loud.value < 0.5


def test_a_planted_bug_that_divides_the_noise_by_ten_is_caught_and_the_right_code_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Z = 3 claims an epsilon of 0.66 at delta 0.01; with a tenth of the noise the canaries show more than that."""
    from fedmetric.privacy.accounting import Charge, epsilon_of
    from fedmetric.privacy.audit.broken import require_epsilon
    from fedmetric.privacy.mechanisms import client_level

    claimed = epsilon_of([Charge(3.0)], 1e-2)
    key = ("canary clients", "trained", "epsilon >=")
    right = canaries(tmp_path / "right", "privacy.noise=3")[key].value
    assert right is not None
    require_epsilon("canary clients", right, claimed)

    real = client_level.noise_like
    monkeypatch.setattr(client_level, "noise_like", lambda like, deviation, drawn: real(like, deviation / 10, drawn))
    wrong = canaries(tmp_path / "wrong", "privacy.noise=3")[key].value
    assert wrong is not None
    with pytest.raises(BrokenGuaranteeError, match="the privacy code is broken, do not release the run"):
        require_epsilon("canary clients", wrong, claimed)


def test_the_one_run_audit_stays_below_its_ceiling_and_refuses_a_claim_that_it_rules_out(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(plain)
    (finding,) = one_run.one_run(subject)
    assert finding.value is not None
    assert finding.ceiling is not None
    assert 0.0 <= finding.value < finding.ceiling
    # an encoder that tells every canary apart, under a claim of hardly any epsilon
    telling = {tuple(np.round(row, 4)): bit for row, bit in rows_of(subject)}
    monkeypatch.setattr(
        one_run, "view_similarity",
        lambda embed, images, *rest: np.array([float(telling[tuple(np.round(row, 4))]) for row in flat(images)]),
    )  # fmt: skip
    claim = {"unit": "record", "epsilon": 0.1, "delta": 1e-5, "label": ""}
    monkeypatch.setattr(Subject, "spending", property(lambda self: claim))
    with pytest.raises(BrokenGuaranteeError, match=r"epsilon is .* at least, but 0.1 is claimed"):
        list(one_run.one_run(subject))


def flat(images: Any) -> np.ndarray:
    return np.asarray(images.flatten(1).numpy())


def rows_of(subject: Subject) -> list[tuple[np.ndarray, bool]]:
    pool = subject.pool
    return list(zip(flat(subject.pixels(pool.rows)), pool.included.tolist(), strict=True))
