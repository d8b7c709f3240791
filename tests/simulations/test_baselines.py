"""Ceiling and floors of a federated result, each an experiment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedmetric.arrays import sha256_of
from fedmetric.federation.memory import ClientState
from fedmetric.server.checkpoints import latest_checkpoint
from fedmetric.server.cohort import cohort_of
from fedmetric.simulations.baselines import Baseline, baseline_of, changed, passes_of
from fedmetric.simulations.launch import start_run
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from tiny import tiny

QUICK = ("evaluation.every=0", "evaluation.episodes=1")


def ignore(event: Mapping[str, Any]) -> None:
    pass


@pytest.mark.parametrize(("cohort", "wanted"), [(0, 30.0), (5, 30.0), (1, 6.0), (2, 12.0)])
def test_passes_are_how_often_a_client_takes_part_on_average(cohort: int, wanted: float) -> None:
    """Thirty rounds of one client in five are six passes."""
    experiment = tiny("partition.clients=5", "federation.rounds=30", f"federation.clients_per_round={cohort}")
    assert passes_of(experiment) == wanted


@pytest.mark.parametrize(("clients", "cohort", "rounds"), [(10, 4, 30), (6, 2, 9), (5, 5, 3)])
@pytest.mark.parametrize("sampling", ["uniform", "reshuffled"])
def test_passes_are_counted_from_the_cohorts_as_they_are_drawn(
    clients: int, cohort: int, rounds: int, sampling: str
) -> None:
    """Ten clients dealt out by four are cohorts of 4, 4 and 2: thirty rounds are ten passes, not twelve."""
    experiment = tiny(
        f"partition.clients={clients}", f"federation.rounds={rounds}", f"federation.clients_per_round={cohort}",
        f"federation.sampling={sampling}",
    )  # fmt: skip
    taken = sum(len(cohort_of(experiment, round, clients)) for round in range(1, rounds + 1))
    assert passes_of(experiment) == pytest.approx(taken / clients)


@pytest.mark.parametrize(("baseline", "rule"), [("central", "fedavg"), ("local", "solo")])
def test_a_trained_baseline_has_one_round_for_each_pass_and_all_clients_in_it(baseline: Baseline, rule: str) -> None:
    federated = tiny(
        "partition.clients=5", "federation.rounds=30", "federation.clients_per_round=1", "federation.rule=fedprox",
        "federation.max_staleness=2",
    )  # fmt: skip
    found = baseline_of(federated, baseline)
    federation = found.federation
    assert (found.name, federation.rule.name) == (f"tiny-{baseline}", rule)
    assert (federation.rounds, federation.clients_per_round, federation.max_staleness) == (6, 0, 0)
    assert Site(found).num_clients == {"central": 1, "local": 5}[baseline]
    for part in ("seed", "data", "views", "model", "objective", "local", "evaluation"):
        assert getattr(found, part) == getattr(federated, part)


def test_less_than_a_pass_is_still_one_round() -> None:
    federated = tiny("partition.clients=40", "federation.rounds=2", "federation.clients_per_round=1")
    assert baseline_of(federated, "local").federation.rounds == 1


def test_the_random_baseline_trains_nothing_and_changes_nothing_else() -> None:
    found = baseline_of(tiny(), "random")
    assert (found.name, found.federation.rounds) == ("tiny-random", 0)
    assert changed(found, {"name": "tiny", "federation": {"rounds": 2}}) == tiny()


def test_the_ceiling_of_a_loss_without_negatives_keeps_the_rule_that_spreads_out_its_proxies() -> None:
    """Under a plain average positives alone collapse, and what is called a ceiling would be a floor."""
    spread = tiny('objective={name="positive-cosine"}', 'federation.rule={name="fedaws", steps=7}')
    assert baseline_of(spread, "central").federation.rule == spread.federation.rule
    robust = tiny('objective={name="arcface"}', 'federation.rule={name="fedprox", mu=0.1}')
    assert baseline_of(robust, "central").federation.rule.name == "fedavg"


def test_a_changed_method_loses_the_options_of_the_old_one_and_other_keys_stay() -> None:
    found = changed(tiny("federation.norm=pooled"), {"objective": {"name": "vicreg"}, "federation": {"rounds": 7}})
    assert found.objective == tiny("objective.name=vicreg").objective
    assert (found.federation.rounds, found.federation.norm) == (7, "pooled")


def test_local_training_is_every_client_alone_bit_for_bit(tmp_path: Path) -> None:
    """Each client's network in the last checkpoint is what two rounds of the loop give that never met another."""
    experiment = baseline_of(tiny(*QUICK), "local")
    summary = start_run(experiment, tmp_path / "run", ignore, workers=1)
    checkpoint, _ = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint.shared == {}
    for client in range(3):
        site, alone = Site(experiment), ClientState(client)
        for round in (1, 2):
            local_update(site.trainer, site.images_of(client), {}, {}, alone, round)
        assert sha256_of(checkpoint.memories[client]) == sha256_of(alone.to_arrays())
    assert set(summary["clients"]) == {"0", "1", "2"}
    scores = [row["recall@1"] for row in summary["clients"].values()]
    assert len(set(scores)) > 1
    assert summary["evaluation"]["trained"]["recall@1"]["mean"] == pytest.approx(sum(scores) / 3)
    assert summary["evaluation"]["trained"]["recall@1"]["n"] == 3
    assert not (tmp_path / "run" / "model").exists()


def test_a_client_alone_is_a_federation_of_one(tmp_path: Path) -> None:
    """With one client, sharing nothing and averaging one are the same training."""
    one = tiny("partition.clients=1", *QUICK)
    start_run(one, tmp_path / "one", ignore, workers=1)
    start_run(baseline_of(one, "local"), tmp_path / "alone", ignore, workers=1)
    shared = latest_checkpoint(tmp_path / "one" / "checkpoints")[0].shared
    own = latest_checkpoint(tmp_path / "alone" / "checkpoints")[0].memories[0]
    assert sha256_of(ClientState.from_arrays(own, 0).own) == sha256_of(shared)


def test_a_run_that_shares_weights_lists_no_clients(tmp_path: Path) -> None:
    summary = start_run(tiny(*QUICK, "federation.rounds=0"), tmp_path / "run", ignore, workers=1)
    assert summary["clients"] == {}
