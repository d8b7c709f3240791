"""The weighted mean of updates, folded one at a time."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.federation.average import WeightedMean

RNG = np.random.default_rng(1)


def mean_of(*pairs: tuple[dict[str, np.ndarray], float]) -> dict[str, np.ndarray]:
    total = WeightedMean()
    for arrays, weight in pairs:
        total.fold(arrays, weight)
    return total.result(pairs[0][0])


def test_two_clients_by_hand() -> None:
    """(1 * 2 + 3 * 6) / 4 = 5."""
    first, second = {"w": np.array([2.0, 0.0], np.float32)}, {"w": np.array([6.0, 4.0], np.float32)}
    assert mean_of((first, 1), (second, 3))["w"].tolist() == [5.0, 3.0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("weight", [1.0, 3.0, 0.1, 12345.0])
def test_the_mean_of_one_update_is_that_update_bit_for_bit(dtype: type[np.floating], weight: float) -> None:
    arrays = {"w": RNG.normal(size=2000).astype(dtype), "zero": np.array([-0.0, 0.0, 1e-7], dtype)}
    found = mean_of((arrays, weight))
    assert all(found[name].tobytes() == array.tobytes() for name, array in arrays.items())


def test_equal_updates_have_themselves_as_mean() -> None:
    arrays = {"w": RNG.normal(size=500).astype(np.float32)}
    assert np.allclose(mean_of((arrays, 3), (arrays, 7), (arrays, 0.3))["w"], arrays["w"], rtol=1e-7, atol=0)


def test_counters_take_the_maximum_and_keep_their_type() -> None:
    first, second = ({"n": np.array(value, np.int64), "m": np.array([value, 5])} for value in (4, 9))
    found = mean_of((second, 1), (first, 100))
    assert found["n"].dtype == np.int64
    assert found["n"].item() == 9
    assert found["m"].tolist() == [9, 5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int64])
def test_types_and_shapes_are_kept_also_of_arrays_without_dimensions(dtype: type) -> None:
    arrays = {"scalar": np.array(3, dtype), "empty": np.zeros((0, 2), dtype), "matrix": np.ones((2, 3), dtype)}
    for name, array in mean_of((arrays, 2), (arrays, 2)).items():
        assert array.dtype == dtype
        assert array.shape == arrays[name].shape


def test_sums_are_taken_in_float64() -> None:
    """In float32, 16777216 + 1 = 16777216: the mean of 2^24 and 1 would be 2^23 instead of 2^23 + 1/2."""
    found = mean_of(({"w": np.array([2.0**24])}, 1), ({"w": np.array([1.0], np.float32)}, 1))
    assert found["w"].tolist() == [2**23 + 0.5]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_weights_must_be_above_zero(weight: float) -> None:
    with pytest.raises(ValueError, match=f"the weight of an update must be above 0, not {weight}"):
        WeightedMean().fold({"w": np.ones(1)}, weight)


def test_the_mean_of_nothing_is_a_copy_of_what_was_there() -> None:
    arrays = {"w": np.ones(2, np.float32)}
    found = WeightedMean().result(arrays)
    found["w"][:] = 5
    assert arrays["w"].tolist() == [1, 1]


def test_updates_are_neither_changed_nor_kept() -> None:
    first, second = (
        {"w": np.ones(2, np.float32), "n": np.array([1])},
        {"w": np.zeros(2, np.float32), "n": np.array([3])},
    )
    total = WeightedMean()
    total.fold(first, 1)
    first["w"][:], first["n"][:] = 100, 100
    total.fold(second, 1)
    assert total.result(second)["w"].tolist() == [0.5, 0.5]
    assert total.result(second)["n"].tolist() == [3]
    assert second["w"].tolist() == [0, 0]


def samples(seed: int, count: int) -> np.ndarray:
    """Return activations of a client whose mean and spread are its own."""
    return np.random.default_rng(seed).normal(seed, 1 + seed, (count, 3))


def test_a_pooled_variance_is_that_of_all_samples_together() -> None:
    """Means and variances of 40, 10 and 25 samples, weighed by their counts, against numpy on all 75."""
    parts = [samples(1, 40), samples(2, 10), samples(3, 25)]
    total = WeightedMean(pooled={"mean": "var"})
    for part in parts:
        total.fold({"mean": part.mean(axis=0), "var": part.var(axis=0)}, len(part))
    everything = np.concatenate(parts)
    found = total.mean()
    np.testing.assert_allclose(found["mean"], everything.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["var"], everything.var(axis=0), rtol=1e-12)


def test_the_plain_mean_of_variances_misses_the_variance_of_means() -> None:
    """Variances 1 and 1 around -3 and 3: 1 on average, but 1 + 9 over both clients; equal means add nothing."""
    for distance, wanted in ((3.0, 10.0), (0.0, 1.0)):
        pooled, plain = WeightedMean({"m": "v"}), WeightedMean()
        for total in (pooled, plain):
            for sign in (-1, 1):
                total.fold({"m": np.array([sign * distance]), "v": np.array([1.0])}, 4.0)
        assert plain.mean()["v"].item() == 1.0
        assert pooled.mean()["v"].item() == pytest.approx(wanted)


def test_pooling_never_gives_a_negative_variance() -> None:
    """E[v + m^2] - E[m]^2 of a constant channel rounds to something near 0 on either side."""
    total = WeightedMean({"m": "v"})
    for weight in (0.1, 0.7, 0.3):
        total.fold({"m": np.array([1e8 + 1 / 3, 0.1]), "v": np.zeros(2)}, weight)
    assert (total.mean()["v"] >= 0).all()


def test_a_pair_that_is_not_uploaded_is_not_pooled() -> None:
    total = WeightedMean({"m": "v"})
    total.fold({"w": np.ones(2)}, 1.0)
    assert list(total.mean()) == ["w"]


def test_the_mean_of_nothing_holds_nothing() -> None:
    assert WeightedMean({"m": "v"}).mean() == {}
