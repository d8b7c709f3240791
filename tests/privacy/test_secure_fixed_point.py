"""Float vectors as 32-bit fixed point, at the ends of its range and between."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.fixed_point import TOLERANCE, decode, encode, levels_per_unit, quantisation_bound

RNG = np.random.default_rng(5)


def total(vectors: list[NDArray[np.float64]], clip: float, num_clients: int) -> NDArray[np.float64]:
    added = np.zeros(len(vectors[0]), dtype=np.uint32)
    for vector in vectors:
        added += encode(vector, clip, num_clients)
    return decode(added, clip, num_clients)


def on_the_sphere(number: int, length: int, clip: float) -> list[NDArray[np.float64]]:
    drawn = RNG.normal(size=(number, length))
    return list(clip * drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


@pytest.mark.parametrize("clip", [1e-30, 0.003, 1.0, 250.0, 1e30])
@pytest.mark.parametrize("number", [1, 3, 10, 1000])
def test_a_sum_at_the_clip_norm_is_the_plain_sum_up_to_the_bound(clip: float, number: int) -> None:
    vectors = on_the_sphere(number, 40, clip)
    assert np.abs(total(vectors, clip, number) - np.sum(vectors, axis=0)).max() <= quantisation_bound(clip, number)


def test_the_bound_is_reached_to_within_a_percent() -> None:
    """Values a hundredth of a level below a half are all rounded down: 3 clients lose 1.47 of their 1.5 levels."""
    level = 1 / levels_per_unit(1.0, 3)
    vectors = [np.array([0.49 * level])] * 3
    lost = abs(float(total(vectors, 1.0, 3)[0]) - 1.47 * level)
    assert lost == pytest.approx(1.47 * level)
    assert 0.97 < lost / quantisation_bound(1.0, 3) < 1


def test_the_bound_is_half_a_level_for_each_vector_that_is_summed() -> None:
    """10 clients have floor((2^31 - 1) / 10) = 214748364 levels; half of one at clip 2 is 4.6566e-9."""
    assert quantisation_bound(2.0, 10, 1) == pytest.approx(2 / 214748364 / 2, rel=2e-5)
    assert quantisation_bound(2.0, 10) == pytest.approx(10 * quantisation_bound(2.0, 10, 1))


@pytest.mark.parametrize("number", [1, 2, 3, 7, 1000, 65_536])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("beyond", [0.0, TOLERANCE])
def test_all_clients_at_the_clip_norm_in_one_coordinate_do_not_overflow(
    number: int, sign: float, beyond: float
) -> None:
    largest = sign * 0.7 * (1 + beyond)
    one = encode(np.array([largest, 0.0]), 0.7, number)
    assert abs(int(one.view(np.int32)[0])) * number <= 2**31 - 1
    added = (one.astype(np.uint64) * number % 2**32).astype(np.uint32)
    assert decode(added, 0.7, number) == pytest.approx([number * largest, 0], abs=quantisation_bound(0.7, number))


def test_the_range_is_used_to_the_last_level_but_one_for_each_client() -> None:
    assert encode(np.array([1.0 + TOLERANCE]), 1.0, 3).tolist() == [(2**31 - 1) // 3]


def test_zeros_are_exact_and_a_negative_is_a_twos_complement() -> None:
    assert encode(np.zeros(4), 1.0, 3).tolist() == [0, 0, 0, 0]
    assert total([np.zeros(4)] * 3, 1.0, 3).tolist() == [0, 0, 0, 0]
    level = 1 / levels_per_unit(1.0, 3)
    assert encode(np.array([-level, 2 * level]), 1.0, 3).tolist() == [2**32 - 1, 2]


def test_a_vector_and_its_negative_cancel() -> None:
    (vector,) = on_the_sphere(1, 30, 1.0)
    assert not total([vector, -vector], 1.0, 2).any()


def test_float32_scaled_to_the_clip_norm_is_taken_as_it_is() -> None:
    for length in (1, 10, 100_000):
        vector = RNG.normal(size=length).astype(np.float32)
        vector *= np.float32(3) / np.linalg.norm(vector)
        found = decode(encode(vector, 3.0, 5), 3.0, 5)
        assert np.abs(found - vector.astype(np.float64)).max() <= quantisation_bound(3.0, 5, 1)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(ProtocolError, match="1 of 3 values are not finite"):
        encode(np.array([0.0, wrong, 0.0]), 1.0, 3)


@pytest.mark.parametrize("vector", [[1.0001], [0.8, 0.8], [-2.0, 0.0], [1e200, 1e200]])
def test_a_norm_beyond_the_clip_norm_is_refused(vector: list[float]) -> None:
    with pytest.raises(ProtocolError, match=r"norm \S+ is beyond the clip norm 1; clip it first"):
        encode(np.array(vector), 1.0, 3)


@pytest.mark.parametrize("vector", [np.zeros((2, 2)), np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.float16)])
def test_what_is_no_flat_float_vector_is_refused(vector: NDArray[np.float64]) -> None:
    with pytest.raises(ProtocolError, match="must be flat, float32 or float64"):
        encode(vector, 1.0, 3)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan"), float("inf"), 1e-310])
def test_a_clip_norm_without_a_scale_is_refused(clip: float) -> None:
    with pytest.raises(ProtocolError, match="has no fixed point of 32 bits"):
        levels_per_unit(clip, 3)
