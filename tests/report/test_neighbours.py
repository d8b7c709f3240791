from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fedmetric.data.base import ImageSet
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.distances.pair_mlp import PairMLP
from fedmetric.report.neighbours import RIGHT, WRONG, draw_neighbours, nearest_images
from oracles.geometry import circle


def test_nearest_images_leave_the_query_out_and_come_in_order() -> None:
    """Angles 0, 10, 25, 90 degrees: from 0 the order is 10, 25, 90; from 25 it is 10, 0, 90."""
    angles = torch.deg2rad(torch.tensor([0.0, 10.0, 25.0, 90.0]))
    points = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([[1.0], [5.0], [0.1], [2.0]])
    assert nearest_images(points, np.array([0, 2]), 3).tolist() == [[1, 2, 3], [1, 0, 3]]


def test_nearest_images_are_those_of_the_distance_that_the_encoder_was_trained_for() -> None:
    """The map sees the second coordinate only: 0, 10, 90 and 180 degrees have the sines 0, 0.17, 1 and 0."""
    learned = Mahalanobis(2, rank=1)
    with torch.no_grad():
        learned.weight.copy_(torch.tensor([[0.0, 1.0]]))
    points = circle(0, 10, 90, 180)
    assert nearest_images(points, np.array([0]), 3).tolist() == [[1, 2, 3]]
    assert nearest_images(points, np.array([0]), 3, learned).tolist() == [[3, 1, 2]]
    pairs = PairMLP(2)
    loop = sorted(range(1, 4), key=lambda row: pairs.between(points[:1].float(), points[row : row + 1].float()).item())
    assert nearest_images(points.float(), np.array([0]), 3, pairs).tolist() == [loop]


def test_the_picture_frames_hits_green_and_misses_red(tmp_path: Path) -> None:
    """Two classes far apart by one encoder, and swapped by the other: all hits, then all misses."""
    labels = np.array([0, 0, 1, 1], dtype=np.int64)
    images = ImageSet("set", np.full((4, 8, 8, 1), 128, np.uint8), labels, ("a", "b"))
    right = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    wrong = torch.tensor([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]])

    def colours(embeddings: torch.Tensor) -> set[str]:
        draw_neighbours(images, {"x": embeddings}, tmp_path / "p.png", seed=1, num_queries=2, count=1)
        pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).reshape(-1, 3)
        seen = {f"#{bytes(pixel).hex()}" for pixel in np.unique(pixels, axis=0)}
        return seen & {RIGHT, WRONG}

    assert colours(right) == {RIGHT}
    assert colours(wrong) == {WRONG}


def test_white_ink_on_black_is_drawn_as_ink_on_paper_and_a_photograph_as_it_is(tmp_path: Path) -> None:
    def share_drawn_at(grey: int, background: int) -> float:
        pixels = np.full((4, 8, 8, 1), background, np.uint8)
        pixels[:, 3:5, 3:5] = 255
        images = ImageSet("set", pixels, np.array([0, 0, 1, 1]), ("a", "b"))
        draw_neighbours(images, {"x": torch.eye(4)}, tmp_path / "p.png", seed=1, num_queries=2, count=1)
        drawn = np.asarray(Image.open(tmp_path / "p.png").convert("L")).astype(int)
        return float((abs(drawn - grey) <= 2).mean())

    drawn_alike = share_drawn_at(90, background=90)
    assert drawn_alike > 0.05
    assert share_drawn_at(0, background=0) < drawn_alike / 3


def test_the_same_seed_draws_the_same_picture_and_colour_images_are_drawn_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    images = ImageSet("set", pixels, np.repeat(np.arange(4), 3), ("a", "b", "c", "d"))
    embeddings = torch.from_numpy(generator.normal(size=(12, 3)))
    for name in ("one.png", "two.png"):
        draw_neighbours(images, {"x": embeddings, "y": -embeddings}, tmp_path / name, seed=1, num_queries=3, count=2)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
