"""Local privacy: what leaves is the server's weights, a clipped move and noise, under every rule that is taken."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedmetric.errors import ConfigError
from fedmetric.federation.memory import ClientState
from fedmetric.privacy.accounting import Charge, epsilon_of, gaussian_epsilon
from fedmetric.privacy.clipping import flat_norm, move_of
from fedmetric.privacy.mechanisms.local import Local
from fedmetric.privacy.schedule import Schedule
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from tiny import tiny

BASE = ("privacy=local", "federation.norm=group_norm", "objective.output_dim=32")
SCHEDULE = Schedule(num_clients=3, cohort=3, rounds=16, batch_size=8, epochs=1)


def rounds(*overrides: str, count: int = 2) -> list[float]:
    """Return how far what a client sends is from what the server sent, round by round."""
    site = Site(tiny(*BASE, "partition.clients=6", *overrides))
    shared, state, found = site.beginning(), ClientState(0), []
    for round in range(1, count + 1):
        trainer = site.trainer_of(0)
        update = local_update(trainer, site.images_of(0), shared, {}, state, round)
        assert (update.num_examples, dict(update.metrics)) == (1, {})
        names = [name for name in trainer.embedder.layout.parameters if name in update.arrays]
        found.append(flat_norm(move_of(shared, update.arrays, names)))
    return found


@pytest.mark.parametrize("rule", ["fedavg", "fedavgm", "fedprox", "fedadam"])
def test_without_noise_no_client_is_further_from_the_server_than_the_bound(rule: str) -> None:
    for distance in rounds("privacy.noise=0", "privacy.clip=0.01", f"federation.rule={rule}"):
        assert 0.0 < distance <= 0.01 * (1 + 1e-3)


@pytest.mark.parametrize("rule", ["fedbn", "fedema"])
def test_rules_under_which_clients_go_on_from_their_own_weights_are_refused(rule: str) -> None:
    objective = ("objective={name='byol', hidden_dim=16, output_dim=16}",) if rule == "fedema" else ()
    with pytest.raises(ConfigError, match=f"under federation.rule '{rule}' clients go on from weights of their own"):
        _ = Site(tiny(*BASE[:2], f"federation.rule={rule}", *objective)).trainer


def test_the_noise_is_that_of_a_sensitivity_of_twice_the_bound() -> None:
    """Z 2 C in each of d numbers: the norm of the noise is close to 2 z C sqrt(d)."""
    site = Site(tiny(*BASE))
    layout = site.trainer.embedder.layout
    count = sum(site.beginning()[name].size for name in layout.parameters)
    (distance,) = rounds("privacy.noise=5", "privacy.clip=0.5", count=1)
    assert distance == pytest.approx(2 * 5 * 0.5 * math.sqrt(count), rel=0.1)


def test_a_client_whose_training_diverges_sends_noise_and_no_error() -> None:
    (distance,) = rounds("privacy.noise=0", "local.lr=1e30", "local.optimiser=sgd", count=1)
    assert distance <= 1.0 + 1e-3
    assert np.isfinite(distance)


def test_every_client_that_is_asked_pays_and_rounds_compose() -> None:
    mechanism = Local(noise=4.0)
    assert mechanism.charges(SCHEDULE, [0, 2]) == {"0": Charge(4.0), "2": Charge(4.0)}
    (planned,) = mechanism.planned(SCHEDULE)
    assert epsilon_of([planned], 1e-5) == pytest.approx(gaussian_epsilon(math.sqrt(16) / 4.0, 1e-5))


def test_the_noise_for_an_epsilon_is_settled_by_the_exact_mechanism() -> None:
    settled = Local(target_epsilon=3.0).settled(SCHEDULE)["noise"]
    assert gaussian_epsilon(math.sqrt(16) / settled, 1e-5) == pytest.approx(3.0)
    assert Local().settled(SCHEDULE) == {}
