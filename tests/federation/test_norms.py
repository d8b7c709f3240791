"""Each policy for norm layers is a row of flags, and the experiment offers exactly these."""

from __future__ import annotations

from typing import get_args

import pytest

from fedmetric.config.experiment import Federation
from fedmetric.federation.norms import NORM_POLICIES
from fedmetric.training.site import Site
from tiny import tiny


def test_the_experiment_offers_the_policies_that_there_are() -> None:
    assert set(get_args(Federation.model_fields["norm"].annotation)) == set(NORM_POLICIES)
    assert all(policy.summary for policy in NORM_POLICIES.values())


def test_average_is_the_policy_without_any_flag() -> None:
    plain = NORM_POLICIES["average"]
    assert (plain.pooled, plain.stays, plain.recalibrated) == (False, False, False)


@pytest.mark.parametrize("norm", sorted(NORM_POLICIES))
def test_what_travels_follows_from_the_policy(norm: str) -> None:
    """Under "local" running statistics go up and never down, under "group_norm" there are none, else they do both."""
    trainer = Site(tiny(f"federation.norm={norm}")).trainer
    way = trainer.routes
    running = [name for name in way.up if name.endswith(("running_mean", "running_var"))]
    assert bool(running) is (norm != "group_norm")
    assert not set(running) & set(way.own if norm != "local" else way.down)
    assert bool(trainer.rule.context.pooled) is (norm == "pooled")
    counters = [name for name in way.up if name.endswith("num_batches_tracked")]
    assert set(counters) <= set(way.down)


def test_under_group_norm_no_layer_holds_statistics() -> None:
    layout = Site(tiny("federation.norm=group_norm")).trainer.embedder.layout
    assert layout.statistics == {}
    assert layout.norms
    assert layout.norms <= layout.parameters
