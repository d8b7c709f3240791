"""Client-level privacy: what one client can do to the mean, what noise is added, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.errors import ConfigError, ProtocolError
from fedmetric.federation.base import FederationRule, RuleContext, Update
from fedmetric.federation.fedavg import FedAvg
from fedmetric.federation.fedavgm import FedAvgM
from fedmetric.layout import Layout
from fedmetric.privacy.mechanisms.client_level import CLIP, ClientLevel
from fedmetric.privacy.schedule import Schedule
from fedmetric.training.site import Site
from tiny import tiny

LAYOUT = Layout(dict.fromkeys(("w", "b", "frozen"), "backbone"), frozenset({"w", "b"}))
CONTEXT = RuleContext(LAYOUT, num_clients=10)
RNG = np.random.default_rng(5)
SHARED: Arrays = {
    "w": RNG.normal(size=(4, 3)).astype(np.float32), "b": RNG.normal(size=5).astype(np.float32),
    "frozen": np.ones(2, np.float32),
}  # fmt: skip
MANY = Schedule(num_clients=10, cohort=10, rounds=5, batch_size=8, epochs=1, seed=3)


def moved(client: int, length: float, num_examples: int = 7) -> Update:
    """Return an update that moves by this L2 length in a random direction."""
    move = {name: RNG.normal(size=SHARED[name].shape) for name in ("w", "b")}
    norm = np.sqrt(sum(np.sum(array**2) for array in move.values()))
    arrays = {name: (SHARED[name] + move[name] * length / norm).astype(np.float32) for name in move}
    return Update(client, {**arrays, "frozen": SHARED["frozen"]}, num_examples)


def mean_of(
    updates: list[Update], schedule: Schedule = MANY, rule: type[FederationRule] = FedAvg, **options: Any
) -> Arrays:
    private = ClientLevel(**{"noise": 0.0, "clip": 1.0, "seeded": True, **options}).around(rule(CONTEXT), schedule)
    return private.aggregate(private.init(SHARED), SHARED, updates)[1]


def flat(arrays: Arrays) -> np.ndarray:
    return np.concatenate([(arrays[name].astype(np.float64) - SHARED[name]).ravel() for name in ("w", "b")])


def clipped_by_hand(update: Update, clip: float) -> np.ndarray:
    move = flat(update.arrays)
    return np.asarray(move * min(1.0, clip / np.linalg.norm(move)))


@pytest.mark.parametrize("clip", [0.1, 1.0, 50.0])
def test_without_noise_the_mean_is_that_of_clipped_moves_over_the_expected_cohort(clip: float) -> None:
    updates = [moved(client, length) for client, length in enumerate((0.01, 0.5, 1.0, 3.0, 40.0))]
    expected = sum(clipped_by_hand(update, clip) for update in updates) / MANY.cohort
    np.testing.assert_allclose(flat(mean_of(updates, clip=clip)), expected, atol=2e-7)


def test_without_noise_and_with_a_bound_beyond_every_move_it_is_the_plain_mean() -> None:
    updates = [moved(client, 0.5) for client in range(10)]
    plain = FedAvg(CONTEXT).aggregate({}, SHARED, [replace(update, num_examples=1) for update in updates])[1]
    found = mean_of(updates, clip=1e9)
    for name in SHARED:
        np.testing.assert_allclose(found[name], plain[name], atol=1e-7)


def test_one_client_alone_within_the_bound_is_its_update_bit_for_bit() -> None:
    update = moved(0, 0.5)
    found = mean_of([update], replace(MANY, num_clients=1, cohort=1))
    for name in SHARED:
        np.testing.assert_array_equal(found[name], update.arrays[name])


@pytest.mark.parametrize("number", [1, 10**12])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6, 1e30])
def test_one_client_moves_the_mean_by_no_more_than_the_bound_over_the_cohort(number: int, scale: float) -> None:
    others = [moved(client, 0.3) for client in range(9)]
    hostile = moved(9, 1.0, number)
    huge = {name: (SHARED[name] + (hostile.arrays[name] - SHARED[name]) * np.float32(scale)) for name in hostile.arrays}
    with_it = flat(mean_of([*others, replace(hostile, arrays=huge)], clip=0.5))
    without = flat(mean_of(others, clip=0.5))
    assert np.linalg.norm(with_it - without) <= 0.5 / MANY.cohort * (1 + 1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_leave_no_trace(value: float) -> None:
    private = ClientLevel(noise=0.0).around(FedAvg(CONTEXT), MANY)
    total = private.begin(SHARED, private.init(SHARED))
    bad = moved(0, 1.0)
    bad.arrays["w"][2, 1] = value
    with pytest.raises(ProtocolError, match="w has 1 values that are not finite"):
        private.fold(total, bad)
    good = moved(1, 0.2)
    private.fold(total, good)
    found = private.finish(private.init(SHARED), SHARED, total)[1]
    np.testing.assert_array_equal(found["w"], mean_of([good])["w"])


def test_a_second_update_of_a_client_is_refused() -> None:
    private = ClientLevel().around(FedAvg(CONTEXT), MANY)
    total = private.begin(SHARED, private.init(SHARED))
    private.fold(total, moved(3, 1.0))
    with pytest.raises(ProtocolError, match="client 3 has sent a second update"):
        private.fold(total, moved(3, 1.0))


def test_a_move_of_nothing_and_a_round_of_nobody_are_rounds() -> None:
    for updates in ([], [Update(0, SHARED, 5)]):
        found = mean_of(updates)
        for name in SHARED:
            np.testing.assert_array_equal(found[name], SHARED[name])
    assert not np.array_equal(mean_of([], noise=1.0)["w"], SHARED["w"])


def test_what_is_not_trained_stays_whatever_clients_send() -> None:
    update = moved(0, 0.5)
    update.arrays["frozen"] = np.full(2, 99.0, np.float32)
    np.testing.assert_array_equal(mean_of([update], noise=1.0)["frozen"], SHARED["frozen"])


def test_the_noise_has_the_deviation_that_is_accounted_for() -> None:
    """Z C / m in every coordinate: 2 * 0.5 / 10 = 0.1; over 40 draws of 17 numbers its estimate is within 10 %."""
    private = ClientLevel(noise=2.0, clip=0.5).around(FedAvg(CONTEXT), MANY)
    state = private.init(SHARED)
    draws = np.stack([flat(private.aggregate(state, SHARED, [])[1]) for _ in range(40)])
    assert draws.std() == pytest.approx(0.1, rel=0.1)
    assert abs(draws.mean()) < 0.02


def test_noise_is_never_the_same_twice_unless_seeded_and_then_it_is_by_round() -> None:
    secret = ClientLevel().around(FedAvg(CONTEXT), MANY)
    assert not np.array_equal(*(secret.aggregate(secret.init(SHARED), SHARED, [])[1]["w"] for _ in range(2)))
    seeded = ClientLevel(seeded=True).around(FedAvg(CONTEXT), MANY)
    first, again = (seeded.aggregate(seeded.init(SHARED), SHARED, []) for _ in range(2))
    np.testing.assert_array_equal(first[1]["w"], again[1]["w"])
    assert not np.array_equal(seeded.aggregate(first[0], SHARED, [])[1]["w"], first[1]["w"])


def test_a_server_optimiser_works_on_the_private_mean() -> None:
    update = moved(0, 5.0)
    mean = mean_of([update])
    expected = FedAvgM(CONTEXT).aggregate(FedAvgM(CONTEXT).init(SHARED), SHARED, [Update(0, mean, 1)])[1]
    np.testing.assert_array_equal(mean_of([update], rule=FedAvgM)["w"], expected["w"])


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("begin", [0.1, 1.0, 10.0])
def test_adaptive_clipping_finds_the_median_move_within_sixty_rounds(begin: float, noise: float) -> None:
    """Moves of 0.2 to 1.8 around a median of 1, 200 clients: Flower 1.41's own goes to 0.00025 or to 4028."""
    lengths = np.linspace(0.2, 1.8, 200)
    schedule = replace(MANY, num_clients=200, cohort=200)
    private = ClientLevel(clip=begin, noise=noise, quantile=0.5, seeded=True).around(FedAvg(CONTEXT), schedule)
    updates = [moved(client, length) for client, length in enumerate(lengths)]
    state = private.init(SHARED)
    for _ in range(60):
        state, _ = private.aggregate(state, SHARED, updates)
    assert float(state[CLIP]) == pytest.approx(1.0, abs=0.1)
    assert private.figures(state)["clip"] == float(state[CLIP])


def test_adaptive_clipping_pays_for_its_count_out_of_the_same_noise() -> None:
    """Andrew et al.: z_delta = (z^-2 - (2 m / 20)^-2)^(-1/2); with z = 1 and m = 100, (1 - 0.01)^(-1/2)."""
    assert ClientLevel(noise=1.0, quantile=0.5).move_noise(100) == pytest.approx(0.99**-0.5)
    assert ClientLevel(noise=1.0).move_noise(100) == 1.0
    with pytest.raises(ConfigError, match="needs cohorts of more than 10 clients, and a round has 8"):
        ClientLevel(noise=1.0, quantile=0.5).move_noise(8)


def test_a_simulated_population_has_its_noise_and_no_guarantee() -> None:
    mechanism = ClientLevel(noise=1.0, population=1000)
    assert mechanism.dilution(MANY) == 0.01
    found = mechanism.guarantee(MANY)
    assert found.label == "extrapolated: to 1,000 clients; 10 were simulated"
    assert ClientLevel(noise=1.0, population=10).guarantee(MANY).label == ""


@pytest.mark.parametrize(("options", "label"), [
    ({"noise": 0.0}, "NOT PRIVATE: no noise"),
    ({"seeded": True}, "NOT PRIVATE: noise and cohorts follow from the experiment's seed"),
])  # fmt: skip
def test_what_hides_nothing_is_stamped(options: dict[str, Any], label: str) -> None:
    assert ClientLevel(**options).guarantee(MANY).label == label


PRIVATE = ("privacy=client-level", "federation.norm=group_norm")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*PRIVATE, "federation.rule=scaffold"), "works on the plain mean .* and federation.rule 'scaffold' .*sends"),
        ((*PRIVATE, "federation.rule=l-dawa"), "'l-dawa' (adds updates up|weighs updates)"),
        ((*PRIVATE, "federation.rule=median"), "'median' adds updates up in its own way"),
        ((*PRIVATE, "federation.rule=solo"), "evaluates the clients' own networks"),
        (("privacy=client-level",), "running statistics of norm layers would leave .* set federation.norm to"),
        (
            (*PRIVATE, "objective=byol", "federation.target=aggregate"),
            "tensors of the momentum target would leave .* set federation.target",
        ),
        ((*PRIVATE, "federation.accept.norm_ratio=3"), "norm_ratio compares clients with one another"),
    ],
)  # fmt: skip
def test_training_whose_guarantee_would_be_void_is_refused(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _ = Site(tiny(*overrides)).trainer


def test_cohorts_of_a_fixed_size_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match="set federation.sampling to 'poisson', or federation.clients_per_round to 0"):
        tiny(*PRIVATE, "federation.clients_per_round=2")
    assert tiny(*PRIVATE, "federation.clients_per_round=2", "federation.sampling=poisson")
