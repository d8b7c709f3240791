"""The losses on pairs against loops over all pairs, and what they do with batches that teach nothing."""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
from typing import Any

import pytest
import pytorch_metric_learning.losses as library
import pytorch_metric_learning.miners as library_miners
import torch
from torch import Tensor, nn

from fedmetric.config import parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch
from fedmetric.objectives.circle import Circle
from fedmetric.objectives.contrastive import Contrastive
from fedmetric.objectives.multi_similarity import MultiSimilarity
from fedmetric.objectives.pairs import PairObjective
from fedmetric.objectives.triplet import Triplet
from fedmetric.registry import miners, objectives
from oracles import pairs
from oracles.geometry import circle, cloud
from oracles.pairs import Distance, cosine_distance, euclidean_distance

BIG = 2**24
LABELS = [
    [0, 0, 1, 1, 2, 0],
    [7, 3, 5, 7, 3, 3],
    [BIG, BIG + 1, BIG, BIG + 1, BIG + 1, BIG],
    [0, 0, 0, 0, 0, 1],
]
LOOPS: dict[str, Distance] = {"cosine": cosine_distance, "euclidean": euclidean_distance}
PAIRWISE = [name for name in sorted(objectives) if "distance" in objectives[name].options.model_fields] + ["circle"]


def points(seed: int = 1) -> Tensor:
    return cloud(6, 4, seed).double()


def loss(objective: PairObjective, given: Tensor, labels: list[int]) -> float:
    return float(objective.compare(given, torch.tensor(labels)))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("near", "far"), [(0.0, 1.0), (0.3, 1.6)])
def test_contrastive_is_that_of_the_loops(labels: list[int], distance: str, near: float, far: float) -> None:
    objective = Contrastive(4, positive_margin=near, negative_margin=far, distance=distance)
    expected = pairs.contrastive(points().tolist(), labels, LOOPS[distance], near, far)
    assert loss(objective, points(), labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("soft", [False, True])
def test_triplet_is_that_of_the_loops(labels: list[int], distance: str, soft: bool) -> None:
    given, loop = points().tolist(), LOOPS[distance]
    for miner, chosen in {"all": pairs.triplets(labels), "hard": pairs.hard(given, labels, loop)}.items():
        objective = Triplet(4, margin=0.3, soft_margin=soft, miner=miner, distance=distance)
        expected = pairs.soft_triplet(given, chosen, loop) if soft else pairs.triplet(given, chosen, loop, 0.3)
        assert loss(objective, points(), labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_multi_similarity_is_that_of_the_loops(labels: list[int], distance: str) -> None:
    given, loop = points().tolist(), LOOPS[distance]
    every = set(pairs.positives(labels)), set(pairs.negatives(labels))
    mined = pairs.similarity_pairs(given, labels, loop, 0.1)
    for miner, (pulled, pushed) in {"all": every, "multi-similarity": mined}.items():
        objective = MultiSimilarity(4, alpha=3.0, beta=20.0, base=0.4, miner=miner, distance=distance)
        expected = pairs.multi_similarity(given, pulled, pushed, loop, 3.0, 20.0, 0.4)
        assert loss(objective, points(), labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(("m", "gamma"), [(0.4, 80.0), (0.25, 8.0)])
def test_circle_is_that_of_the_loops(labels: list[int], m: float, gamma: float) -> None:
    expected = pairs.circle(points().tolist(), labels, m, gamma)
    assert loss(Circle(4, margin=m, gamma=gamma), points(), labels) == pytest.approx(expected, rel=1e-6)


def test_triplets_on_a_circle() -> None:
    """Anchor at 0, positive at 60 (a chord of 1), negative at 90 (sqrt 2); back: 60 to 90 degrees is 2 sin 15.

    With margin 1 the first pays 2 - sqrt 2, the second 2 - 2 sin 15 = 1.482.
    """
    expected = ((2 - 2**0.5) + (2 - 0.5176380902)) / 2
    found = loss(Triplet(2, margin=1.0, miner="all"), circle(0, 60, 90).double(), [1, 1, 2])
    assert found == pytest.approx(expected, abs=1e-6)


def batch(labels: list[int], views: int = 2) -> Batch:
    return Batch(tuple(cloud(len(labels), 3, seed) for seed in range(1, views + 1)), torch.tensor(labels))


def backbone() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def build(name: str, dim: int = 4, **options: Any) -> PairObjective:
    torch.manual_seed(6)
    built = objectives.build(objectives[name].options(**options), dim)
    assert isinstance(built, PairObjective)
    return built


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("views", [1, 2])
def test_all_views_are_embedded_in_one_pass_with_the_image_s_label(name: str, views: int) -> None:
    objective, given = build(name, 3), batch([0, 1, 2, 0, 1, 2], views)
    loss = objective(nn.Identity(), given)
    assert given.labels is not None
    assert torch.equal(loss, objective.compare(torch.cat(given.views), given.labels.repeat(views), views))


@pytest.mark.parametrize("name", PAIRWISE)
def test_images_without_a_label_are_left_out_of_the_batch(name: str) -> None:
    """Even the backbone does not see them, so they count in no norm layer."""
    given = batch([1, -1, 0, 1, -1, 2, 0])
    assert given.labels is not None
    kept = given.labels >= 0
    alone = Batch(tuple(view[kept] for view in given.views), given.labels[kept])
    first, second = (build(name)(backbone(), shown) for shown in (given, alone))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("labels", [[-1, -1, -1, -1], [2, 2, 2, 2], [-1, 5, -1, -1]])
def test_a_batch_that_teaches_nothing_gives_a_zero_that_reaches_every_weight(name: str, labels: list[int]) -> None:
    network, objective = backbone(), build(name)
    loss = objective(network, batch(labels))
    loss.backward()
    assert loss.item() == 0
    assert all(weight.grad is not None and not weight.grad.any() for weight in network.parameters())
    assert objective.contributing(batch(labels)) == 0


@pytest.mark.parametrize("name", PAIRWISE)
def test_the_labelled_images_of_enough_classes_count(name: str) -> None:
    assert build(name).contributing(batch([0, 1, -1, 2, 1])) == 4


@pytest.mark.parametrize("name", PAIRWISE)
def test_classes_may_be_renamed_even_above_two_to_the_24(name: str) -> None:
    """Floating-point labels would merge the last two classes, 2^24 and 2^24 + 1."""
    plain, renamed = batch([0, 1, 2, 0, 1, 2]), batch([900, BIG, BIG + 1, 900, BIG, BIG + 1])
    assert torch.equal(build(name, 3)(nn.Identity(), plain), build(name, 3)(nn.Identity(), renamed))


@pytest.mark.parametrize("name", PAIRWISE)
def test_copies_of_an_image_have_finite_gradients(name: str) -> None:
    first = cloud(3, 4, 1)[[0, 0, 1, 1, 2, 2]].requires_grad_()
    objective = build(name)
    for labels in ([0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 2, 2]):
        first.grad = None
        objective(nn.Identity(), Batch((first, first), torch.tensor(labels))).backward()
        assert first.grad is not None
        assert torch.isfinite(first.grad).all()


@pytest.mark.parametrize("name", PAIRWISE)
def test_a_copy_computes_with_its_own_weights(name: str) -> None:
    objective = build(name)
    copied, given = copy.deepcopy(objective), batch([0, 1, 2, 0, 1, 2])
    before = objective(backbone(), given)
    for weight in copied.parameters():
        weight.data += 1.0
    assert torch.equal(objective(backbone(), given), before)
    if list(copied.parameters()):
        assert not torch.equal(copied(backbone(), given), before)


@pytest.mark.parametrize("miner", [name for name in miners if miners[name].traits.get("mines", "pairs") == "pairs"])
@pytest.mark.parametrize("name", [name for name in PAIRWISE if name in ("contrastive", "triplet", "circle")])
def test_every_loss_learns_from_every_miner(name: str, miner: str) -> None:
    """The gradient is finite, and where nothing is mined it is 0 and not missing."""
    network = backbone()
    torch.manual_seed(1)
    loss = build(name, miner=miner)(network, batch([0, 1, 2, 0, 1, 2, 3, 3]))
    loss.backward()
    assert torch.isfinite(loss)
    grads = [weight.grad for weight in network.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


LIBRARY: dict[str, tuple[type, dict[str, str]]] = {
    "contrastive": (library.ContrastiveLoss, {"positive_margin": "pos_margin", "negative_margin": "neg_margin"}),
    "triplet": (library.TripletMarginLoss, {"margin": "margin", "soft_margin": "smooth_loss"}),
    "multi-similarity": (library.MultiSimilarityLoss, {"alpha": "alpha", "beta": "beta", "base": "base"}),
    "circle": (library.CircleLoss, {"margin": "m", "gamma": "gamma"}),
}
OTHER_DEFAULTS = {("triplet", "margin")}
"""0.05 in the library; 0.2 as in FaceNet, section 5.1, here."""
LIBRARY_MINERS: dict[str, tuple[type, dict[str, str]]] = {
    "semi-hard": (library_miners.TripletMarginMiner, {"margin": "margin"}),
    "distance-weighted": (
        library_miners.DistanceWeightedMiner,
        {"cutoff": "cutoff", "nonzero_loss_cutoff": "nonzero_loss_cutoff"},
    ),
    "easy-hard": (library_miners.BatchEasyHardMiner, {"negatives": "neg_strategy"}),
    "multi-similarity": (library_miners.MultiSimilarityMiner, {"epsilon": "epsilon"}),
}


@pytest.mark.parametrize(
    ("registry", "name", "known"),
    [(objectives, name, known) for name, known in LIBRARY.items()]
    + [(miners, name, known) for name, known in LIBRARY_MINERS.items()],
)
def test_options_and_defaults_are_those_of_the_library(registry: Any, name: str, known: Any) -> None:
    kind, options = known
    theirs = inspect.signature(kind.__init__).parameters
    ours = registry[name].options().model_dump()
    assert set(options) == set(ours) - {"name", "miner", "distance", "memory"}
    for option, parameter in options.items():
        assert parameter in theirs
        if (name, option) not in OTHER_DEFAULTS:
            assert theirs[parameter].default == ours[option]


def test_a_distance_and_a_miner_are_tables_with_all_their_options() -> None:
    short = parse_experiment('objective = {name = "triplet", miner = "semi-hard"}')
    written = parse_experiment(
        'objective = {name = "triplet", miner = {name = "semi-hard", margin = 0.2}, distance = {name = "euclidean"}}'
    )
    assert short.fingerprint() == written.fingerprint()
    assert parse_experiment(short.to_toml()) == short
    other = parse_experiment('objective = {name = "triplet", miner = {name = "semi-hard", margin = 0.4}}')
    assert other.fingerprint() != short.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('distance = "euclidian"', "distance: unknown distance 'euclidian'; did you mean 'euclidean'?; known: cosine"),
        (
            'distance = {name = "cosine", x = 1}',
            "distance: cosine: unknown key 'x'; allowed here: nothing but the name",
        ),
        ("miner = 3", "miner: it is 3, not the name of a miner or a table with its name"),
        (
            'miner = {name = "semi-hard", margn = 1}',
            "miner: semi-hard: unknown key 'margn'; did you mean 'margin'?; allowed here: margin",
        ),
        (
            'miner = {name = "semi-hard", margin = -1}',
            "miner: semi-hard: margin: Input should be greater than 0, not -1",
        ),
    ],
)
def test_a_wrong_distance_or_miner_is_refused_when_the_experiment_is_read(options: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_experiment(f'objective = {{name = "triplet", {options}}}')
    assert f"objective.{message}" in str(error.value)


def test_distances_and_miners_are_checked_without_loading_torch() -> None:
    text = 'objective = {name = "triplet", miner = "hard", distance = "cosine"}'
    code = f"import sys; from fedmetric.config import parse_experiment as p; p({text!r}); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
