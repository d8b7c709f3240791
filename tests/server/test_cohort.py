from __future__ import annotations

import pytest

from fedmetric.errors import ConfigError
from fedmetric.server.cohort import draw_cohort


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
