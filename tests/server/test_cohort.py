from __future__ import annotations

import pytest

from fedmetric.errors import ConfigError
from fedmetric.server.cohort import cohort_of, draw_cohort
from tiny import tiny


def test_without_a_size_every_client_takes_part() -> None:
    assert draw_cohort(1, 3, 4, 0) == [0, 1, 2, 3]


def test_a_cohort_is_ascending_without_repeats_and_of_the_asked_size() -> None:
    for round in range(1, 30):
        cohort = draw_cohort(1, round, 20, 7)
        assert cohort == sorted(set(cohort))
        assert len(cohort) == 7
        assert set(cohort) <= set(range(20))


def test_a_cohort_depends_on_seed_and_round_alone() -> None:
    assert draw_cohort(1, 5, 100, 10) == draw_cohort(1, 5, 100, 10)
    assert draw_cohort(1, 5, 100, 10) != draw_cohort(1, 6, 100, 10)
    assert draw_cohort(1, 5, 100, 10) != draw_cohort(2, 5, 100, 10)


def test_every_client_gets_its_turn() -> None:
    seen = {client for round in range(1, 60) for client in draw_cohort(1, round, 12, 3)}
    assert seen == set(range(12))


def test_a_cohort_larger_than_the_federation_names_both_numbers() -> None:
    with pytest.raises(ConfigError, match="clients_per_round=5 but the partition has 3 clients"):
        draw_cohort(1, 1, 3, 5)


PASSES = [(12, 3), (10, 4), (7, 7), (9, 2), (5, 1)]


@pytest.mark.parametrize(("clients", "size"), PASSES)
def test_reshuffled_every_client_has_taken_part_once_after_each_pass(clients: int, size: int) -> None:
    """A pass is ceil(K / c) rounds; the last cohort of one is smaller where c does not divide K."""
    rounds = -(-clients // size)
    for number in range(3):
        cohorts = [
            draw_cohort(1, number * rounds + round, clients, size, "reshuffled") for round in range(1, rounds + 1)
        ]
        assert sorted(client for cohort in cohorts for client in cohort) == list(range(clients))
        assert all(cohort == sorted(cohort) and 1 <= len(cohort) <= size for cohort in cohorts)
        assert [len(cohort) for cohort in cohorts[:-1]] == [size] * (rounds - 1)


def test_reshuffled_passes_differ_in_their_order() -> None:
    passes = [[tuple(draw_cohort(1, 4 * p + r, 20, 5, "reshuffled")) for r in range(1, 5)] for p in range(4)]
    assert len({tuple(cohorts) for cohorts in passes}) == 4


def test_a_reshuffled_cohort_depends_on_seed_and_round_alone() -> None:
    """Round 7 asked for alone is round 7 asked for after all the others."""
    alone = draw_cohort(1, 7, 20, 5, "reshuffled")
    assert [draw_cohort(1, round, 20, 5, "reshuffled") for round in range(1, 9)][6] == alone
    assert draw_cohort(2, 7, 20, 5, "reshuffled") != alone
    assert draw_cohort(1, 7, 20, 5) != alone


def test_the_cohort_of_an_experiment_follows_its_sampling() -> None:
    keys = ("federation.clients_per_round=2", "partition.clients=6")
    uniform, reshuffled = (tiny(*keys, f"federation.sampling={name}") for name in ("uniform", "reshuffled"))
    rounds = range(1, 7)
    assert [cohort_of(uniform, round, 6) for round in rounds] == [draw_cohort(1, round, 6, 2) for round in rounds]
    assert [cohort_of(reshuffled, round, 6) for round in rounds] == [
        draw_cohort(1, round, 6, 2, "reshuffled") for round in rounds
    ]
