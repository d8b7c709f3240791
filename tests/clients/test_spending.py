"""A site's own ledger: written before it trains, over all runs, and a limit that no server can raise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from canary import answer, asking, write_images

from fedmetric.clients.limits import LimitError, Limits
from fedmetric.clients.spending import LEDGER, spend
from fedmetric.config import Experiment
from fedmetric.errors import UsageError
from fedmetric.privacy.accounting import Charge, epsilon_of
from fedmetric.privacy.ledger import Ledger
from fedmetric.training.apart import OwnFolder
from fedmetric.wire import read_failure, unpack_update
from tiny import tiny

pytest.importorskip("opacus", reason="the extra 'dp' is not installed")
RECORD = ("privacy=record-level", "objective=arcface", "federation.norm=group_norm", "local.batch_size=12")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images")


def site_of(folder: Path, experiment: Experiment) -> OwnFolder:
    return OwnFolder(experiment, folder, 3, 1, frozenset())


def test_a_round_is_written_down_before_it_is_trained_and_runs_add_up(folder: Path, tmp_path: Path) -> None:
    """24 images in batches of 12: rate one half, two steps a round."""
    site = site_of(folder, tiny(*RECORD))
    for round in (1, 2):
        spend(tmp_path, Limits(), site, round, 24)
    spend(tmp_path, Limits(), site_of(folder, tiny(*RECORD, "seed=2")), 1, 24)
    ledger = Ledger(tmp_path / LEDGER)
    assert ledger.charges() == [Charge(1.0, 0.5, 2)] * 3
    assert ledger.epsilon(1e-5) == epsilon_of([Charge(1.0, 0.5, 6)], 1e-5)


def test_a_site_stops_before_its_limit_and_tells_the_server_why(folder: Path, tmp_path: Path) -> None:
    site, limits = site_of(folder, tiny(*RECORD)), Limits(epsilon=6.0)
    costs = [epsilon_of([Charge(1.0, 0.5, 2 * rounds)], 1e-5) for rounds in range(1, 10)]
    affordable = sum(cost <= 6.0 for cost in costs)
    assert affordable >= 1
    for round in range(1, affordable + 1):
        spend(tmp_path, limits, site, round, 24)
    with pytest.raises(LimitError, match=r"this site to epsilon .* at delta 1e-05; it allows 6 over all runs"):
        spend(tmp_path, limits, site, affordable + 1, 24)
    assert len(Ledger(tmp_path / LEDGER).entries) == affordable


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "privacy 'none' adds no noise at the site"),
        (("privacy=client-level", "federation.norm=group_norm"), "privacy 'client-level' adds no noise at the site"),
        ((*RECORD, "privacy.noise=0"), "to epsilon inf"),
        ((*RECORD, "privacy.seeded=true"), "to epsilon inf"),
    ],
)
def test_a_limit_refuses_what_does_not_protect_from_the_server(
    overrides: tuple[str, ...], message: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(LimitError, match=message):
        spend(tmp_path, Limits(epsilon=8.0), site_of(folder, tiny(*overrides)), 1, 24)
    assert not (tmp_path / LEDGER).exists()


def test_the_client_app_charges_its_own_ledger_and_sends_no_count_and_no_metric(folder: Path, tmp_path: Path) -> None:
    experiment = tiny(*RECORD, "partition.clients=3")
    reply = answer(asking(experiment), {"data-path": str(folder), "state-dir": str(tmp_path / "state")})
    update = unpack_update(reply.content, 1, 0)
    assert (update.num_examples, dict(update.metrics)) == (1, {})
    assert len(Ledger(tmp_path / "state" / LEDGER).entries) == 1


def test_a_site_may_insist_on_a_mechanism() -> None:
    limits = Limits.read({"mechanisms": ["record-level", "local"], "epsilon": 8, "delta": 1e-6})
    assert (limits.epsilon, limits.delta) == (8.0, 1e-6)
    with pytest.raises(LimitError, match=r"privacy 'none' is asked for, this site takes part under \['record-level'"):
        limits.check_request(tiny())
    limits.check_request(tiny(*RECORD))


@pytest.mark.parametrize("value", [0, -1.0, "8", True])
def test_an_epsilon_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match=r"limits\.epsilon = .* must be a number above 0"):
        Limits.read({"epsilon": value})


@pytest.mark.parametrize("option", ["privacy.noise=0", "privacy.seeded=true"])
def test_a_site_that_insists_on_a_mechanism_refuses_it_without_effect(
    option: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(LimitError, match="as it is asked for hides nothing: no noise, or seeded"):
        spend(tmp_path, Limits(mechanisms=("record-level",)), site_of(folder, tiny(*RECORD, option)), 1, 24)


def test_statistics_do_not_leave_a_site_with_an_epsilon(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedmetric.clients import premises

    monkeypatch.setattr(premises, "Limits", lambda: Limits(epsilon=0.01))
    request = replace(asking(tiny("federation.norm=recalibrate")), task="calibrate")
    reply = answer(request, {"data-path": str(folder), "state-dir": str(tmp_path / "state")})
    failure = read_failure(reply.error, 1, 0)
    assert "statistics are asked for, which no noise covers" in str(failure)
