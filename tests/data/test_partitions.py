"""What tells each partitioner from the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedmetric.data.base import ImageSet
from fedmetric.data.partitions.classes_per_client import ClassesPerClient, shards_per_class
from fedmetric.data.partitions.dirichlet import Dirichlet
from fedmetric.data.partitions.iid import Iid
from fedmetric.data.partitions.natural import Natural
from fedmetric.data.partitions.quantity_skew import QuantitySkew
from fedmetric.errors import ConfigError

MakeSet = Callable[..., ImageSet]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def counts(images: ImageSet, parts: list[np.ndarray]) -> np.ndarray:
    """Count by the obvious loop: images of each client (rows) and class (columns)."""
    table = np.zeros((len(parts), len(images.classes)), dtype=int)
    for client, part in enumerate(parts):
        for index in part:
            table[client, images.labels[index]] += 1
    return table


def test_iid_sizes_differ_by_one_at_most(make_set: MakeSet) -> None:
    sizes = [len(part) for part in Iid(clients=10)(make_set(), rng())]
    assert max(sizes) - min(sizes) == 1
    assert sum(sizes) == 113


def test_iid_clients_see_the_same_mixture_of_classes(make_set: MakeSet) -> None:
    images = make_set([i % 4 for i in range(4000)], 4)
    assert np.abs(counts(images, Iid(clients=4)(images, rng())) / 1000 - 0.25).max() < 0.05


def test_dirichlet_with_a_large_alpha_divides_each_class_evenly(make_set: MakeSet) -> None:
    images = make_set([i % 4 for i in range(4000)], 4)
    table = counts(images, Dirichlet(clients=5, alpha=1e6)(images, rng()))
    assert np.abs(table - 200).max() <= 2


def test_dirichlet_with_a_tiny_alpha_gives_each_class_to_one_client(make_set: MakeSet) -> None:
    images = make_set([i % 40 for i in range(4000)], 40)
    table = counts(images, Dirichlet(clients=5, alpha=1e-9, minimum=0)(images, rng()))
    assert (np.sort(table, axis=0)[-1] == 100).all()


def test_dirichlet_skew_falls_with_alpha(make_set: MakeSet) -> None:
    images = make_set([i % 10 for i in range(5000)], 10)
    spread = [counts(images, Dirichlet(clients=5, alpha=a)(images, rng())).std() for a in (0.1, 1.0, 10.0)]
    assert spread[0] > spread[1] > spread[2]


def test_dirichlet_draws_again_until_every_client_has_the_minimum(make_set: MakeSet) -> None:
    images = make_set([i % 10 for i in range(1000)], 10)
    once = [min(len(p) for p in Dirichlet(clients=10, alpha=0.3, minimum=0)(images, rng(s))) for s in range(20)]
    assert min(once) < 30
    for seed in range(20):
        assert min(len(p) for p in Dirichlet(clients=10, alpha=0.3, minimum=30)(images, rng(seed))) >= 30


def test_dirichlet_that_cannot_reach_the_minimum_names_all_three_keys(make_set: MakeSet) -> None:
    with pytest.raises(ConfigError, match=r"minimum = 10 .*clients = 11 and alpha = 0.01 .*raise alpha, or lower"):
        Dirichlet(clients=11, alpha=0.01, minimum=10)(make_set(), rng())


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_no_client_has_more_classes_than_asked_and_all_are_covered(classes: int, make_set: MakeSet) -> None:
    images = make_set([0] * 300 + [1] * 10 + [i % 6 for i in range(90)], 6)
    for seed in range(10):
        table = counts(images, ClassesPerClient(clients=12, classes=classes)(images, rng(seed)))
        assert (table > 0).sum(axis=1).max() <= classes
        assert (table.sum(axis=0) > 0).all()
        assert table.sum(axis=1).min() > 0


def test_too_few_shards_for_the_classes_are_refused(make_set: MakeSet) -> None:
    with pytest.raises(
        ConfigError, match=r"clients x classes = 2 x 2 = 4 shards, but there are 6 classes to cover; raise"
    ):
        ClassesPerClient(clients=2, classes=2)(make_set(), rng())


def test_more_shards_than_images_are_refused(make_set: MakeSet) -> None:
    with pytest.raises(ConfigError, match=r"= 200 shards, but there are only 113 images; lower"):
        ClassesPerClient(clients=100, classes=2)(make_set(), rng())


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([100, 100], 4, [2, 2]),
        ([300, 100], 4, [3, 1]),
        ([1, 9], 10, [1, 9]),
        ([5, 5, 5], 3, [1, 1, 1]),
        ([1000, 1], 3, [2, 1]),
    ],
)
def test_shards_follow_class_sizes(sizes: list[int], total: int, expected: list[int]) -> None:
    """By hand: each next shard goes to the class with the most images for each shard it would then have."""
    assert shards_per_class(np.asarray(sizes), total) == expected


def test_no_class_has_more_shards_than_images() -> None:
    sizes = rng().integers(1, 20, size=50)
    for total in (50, 200, int(sizes.sum())):
        shards = shards_per_class(sizes, total)
        assert sum(shards) == total
        assert (np.asarray(shards) <= sizes).all()


def test_quantity_skew_gives_everyone_the_minimum(make_set: MakeSet) -> None:
    for seed in range(10):
        sizes = [len(part) for part in QuantitySkew(clients=10, alpha=0.05, minimum=4)(make_set(), rng(seed))]
        assert min(sizes) >= 4
        assert max(sizes) > 30


def test_quantity_skew_with_a_large_alpha_is_even(make_set: MakeSet) -> None:
    sizes = [len(part) for part in QuantitySkew(clients=10, alpha=1e8)(make_set(), rng())]
    assert max(sizes) - min(sizes) <= 1


def test_quantity_skew_with_a_tiny_alpha_gives_the_rest_to_one_client(make_set: MakeSet) -> None:
    sizes = sorted(len(part) for part in QuantitySkew(clients=5, alpha=1e-12, minimum=3)(make_set(), rng()))
    assert sizes == [3, 3, 3, 3, 101]


def test_quantity_skew_asking_for_more_than_there_is_names_both_keys(make_set: MakeSet) -> None:
    with pytest.raises(ConfigError, match=r"clients x minimum = 10 x 12, but there are 113 images"):
        QuantitySkew(clients=10, minimum=12)(make_set(), rng())


def test_natural_takes_the_first_grouping_and_keeps_its_order(make_set: MakeSet) -> None:
    images = make_set([0] * 5, 1, writer=[2, 0, 2, 1, 0], day=[0, 0, 0, 0, 0])
    assert [part.tolist() for part in Natural()(images, rng())] == [[1, 4], [3], [0, 2]]
    assert [part.tolist() for part in Natural(by="day")(images, rng())] == [[0, 1, 2, 3, 4]]


def test_natural_gives_no_client_to_a_group_without_images(make_set: MakeSet) -> None:
    images = make_set([0] * 3, 1, writer=[0, 2, 2])
    assert [part.tolist() for part in Natural()(images, rng())] == [[0], [1, 2]]


def test_natural_merges_whole_groups(make_set: MakeSet) -> None:
    codes = [i % 10 for i in range(100)]
    images = make_set([0] * 100, 1, writer=codes)
    parts = Natural(clients=3)(images, rng())
    held = [{codes[index] for index in part} for part in parts]
    assert sorted(len(group) for group in held) == [3, 3, 4]
    assert set.union(*held) == set(range(10))
    assert [len(part) for part in parts] == [10 * len(group) for group in held]


def test_natural_says_what_groupings_there_are(make_set: MakeSet) -> None:
    images = make_set([0, 0], 1, writer=[0, 1], day=[0, 0])
    with pytest.raises(
        ConfigError, match=r"by = 'writr' is no grouping of hand-made; did you mean 'writer'\?; known: writer, day"
    ):
        Natural(by="writr")(images, rng())
    with pytest.raises(ConfigError, match="clients = 3, but hand-made has 2 groups; lower it"):
        Natural(clients=3)(images, rng())


def test_natural_without_groups_points_to_other_partitions(make_set: MakeSet) -> None:
    with pytest.raises(ConfigError, match="hand-made has no natural groups; use partition = 'iid' or 'dirichlet'"):
        Natural()(make_set(), rng())
