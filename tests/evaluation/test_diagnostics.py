from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fedmetric.errors import DataError
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.diagnostics import alignment, diagnostics, effective_rank, scaled_deviation, uniformity
from fedmetric.evaluation.embeddings import normalise
from oracles import diagnostics as oracle
from oracles.geometry import circle, cloud


def test_a_collapsed_encoder_has_no_deviation_rank_one_and_zero_uniformity() -> None:
    found = diagnostics(torch.full((50, 8), 0.7), np.zeros(50, np.int64), seed=1)
    means = {name: score.mean for name, score in found.items()}
    assert means == pytest.approx({"std": 0, "effective_rank": 1, "uniformity": 0, "alignment": 0}, abs=1e-6)


def test_an_even_sphere_has_deviation_one_and_full_rank() -> None:
    unit = normalise(cloud(20000, 16, 0))
    assert scaled_deviation(unit) == pytest.approx(1, abs=0.01)
    assert effective_rank(unit) == pytest.approx(16, abs=0.05)


def test_equal_axes_have_as_many_effective_dimensions() -> None:
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.eye(7)[:, :3][:3].repeat(5, 1)) == pytest.approx(3)


def test_two_axes_of_unequal_weight_have_the_entropy_of_their_shares() -> None:
    """Nine rows on one axis and one on the other: singular values 3 and 1, shares 3/4 and 1/4."""
    rows = torch.eye(2)[[0] * 9 + [1]]
    assert effective_rank(rows) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_opposite_points_are_uniform_to_minus_eight() -> None:
    """|x - y|^2 = 4, so log exp(-2 * 4) = -8."""
    assert uniformity(circle(0, 180), seed=1) == pytest.approx(-8)


def test_alignment_of_points_on_a_circle() -> None:
    """One pair at 60 degrees (squared distance 2 - 2 cos 60 = 1) and one at 90 degrees (2): mean 1.5."""
    assert alignment(circle(0, 60, 200, 290, 45), np.array([7, 7, 3, 3, 5])) == pytest.approx(1.5)


@pytest.mark.parametrize("dim", [3, 60])
def test_figures_are_those_of_explicit_pairs(dim: int) -> None:
    """With 60 dimensions for 40 rows, the Gram matrix has 20 zero eigenvalues that must not count."""
    unit, labels = normalise(cloud(40, dim, 0).double()), np.random.default_rng(1).integers(0, 6, 40)
    assert uniformity(unit, seed=1) == pytest.approx(oracle.uniformity(unit.numpy()), abs=1e-6)
    assert alignment(unit, labels) == pytest.approx(oracle.alignment(unit.numpy(), labels), abs=1e-6)
    assert effective_rank(unit) == pytest.approx(oracle.effective_rank(unit.numpy()), abs=1e-6)


def test_many_points_are_sampled_with_the_seed() -> None:
    unit = normalise(cloud(5000, 4, 0))
    first, again, other = (uniformity(unit, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first == pytest.approx(other, abs=0.02)


def test_rows_without_a_label_count_for_the_space_and_not_for_alignment() -> None:
    found = diagnostics(circle(0, 60, 90, 180), np.array([4, 4, -1, -1]), seed=1)
    assert found["std"].n == 4
    assert found["alignment"].mean == pytest.approx(1)
    assert (found["alignment"].n, found["alignment"].skipped) == (2, 2)


def test_what_is_not_defined_is_null() -> None:
    assert all(score == Score(None, None, 0) for score in diagnostics(torch.empty(0, 0), seed=1).values())
    assert diagnostics(circle(3), seed=1)["uniformity"].mean is None
    assert diagnostics(circle(3, 4), np.array([1, 2]), seed=1)["alignment"].mean is None
    assert diagnostics(circle(3, 4), seed=1)["alignment"].mean is None


def test_lengths_do_not_matter_and_bad_rows_are_refused() -> None:
    points = cloud(30, 4, 0)
    sizes = torch.linspace(0.1, 9, 30)[:, None]
    assert diagnostics(points * sizes, seed=1)["std"].mean == pytest.approx(diagnostics(points, seed=1)["std"].mean)
    with pytest.raises(DataError, match="30 with NaN"):
        diagnostics(points * torch.nan, seed=1)
