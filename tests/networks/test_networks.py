"""Networks of several branches against the encoder and the distance called one input at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedmetric.distances.base import PairDistance
from fedmetric.distances.euclidean import Euclidean
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.networks.proxy import ProxyNetwork
from fedmetric.networks.quadruplet import QuadrupletNetwork
from fedmetric.networks.siamese import SiameseNetwork
from fedmetric.networks.triplet import TripletNetwork
from oracles.geometry import cloud


def encoder() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(5, 4)


def distance() -> PairDistance:
    torch.manual_seed(2)
    return Mahalanobis(4, rank=3)


def images(count: int = 3, seed: int = 1) -> Tensor:
    return cloud(count, 5, seed)


def apart(first: Tensor, second: Tensor) -> list[float]:
    """Compare one pair at a time."""
    network, measure = encoder(), distance()
    return [measure(network(a[None]), network(b[None])).item() for a, b in zip(first, second, strict=True)]


def test_a_siamese_network_compares_rows() -> None:
    found = SiameseNetwork(encoder(), distance())(images(), images(seed=2))
    assert found.shape == (3,)
    assert found.tolist() == pytest.approx(apart(images(), images(seed=2)), abs=1e-6)


def test_a_siamese_network_does_not_care_which_input_is_first() -> None:
    network = SiameseNetwork(encoder(), distance())
    assert torch.allclose(network(images(), images(seed=2)), network(images(seed=2), images()), atol=1e-6)
    assert network(images(), images()).tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_matrix_holds_every_pair() -> None:
    given = images(4)
    found = SiameseNetwork(encoder(), distance()).matrix(given)
    for row in range(4):
        assert found[row].tolist() == pytest.approx(apart(given[[row]].expand(4, 5), given), abs=1e-6)


def test_a_triplet_network_compares_the_anchor_with_both() -> None:
    a, p, n = images(), images(seed=2), images(seed=3)
    near, far = TripletNetwork(encoder(), distance())(a, p, n)
    assert near.tolist() == pytest.approx(apart(a, p), abs=1e-6)
    assert far.tolist() == pytest.approx(apart(a, n), abs=1e-6)


def test_a_quadruplet_network_compares_the_negatives_too() -> None:
    a, p, n1, n2 = (images(seed=seed) for seed in range(4))
    near, far, negatives = QuadrupletNetwork(encoder(), distance())(a, p, n1, n2)
    assert near.tolist() == pytest.approx(apart(a, p), abs=1e-6)
    assert far.tolist() == pytest.approx(apart(a, n1), abs=1e-6)
    assert negatives.tolist() == pytest.approx(apart(n1, n2), abs=1e-6)


def test_a_proxy_network_compares_inputs_with_every_proxy() -> None:
    proxies = cloud(6, 4, 7)
    network = ProxyNetwork(encoder(), distance(), proxies)
    found = network(images())
    assert found.shape == (3, 6)
    assert torch.allclose(found, distance()(encoder()(images()), proxies), atol=1e-6)
    found.sum().backward()
    assert network.proxies.grad is not None
    assert network.proxies is not proxies
    assert torch.equal(network.proxies, proxies)


def test_all_branches_are_one_pass_through_one_set_of_weights() -> None:
    """Norm layers see one batch: their statistics move once, by the mean of all twelve inputs."""
    norm = nn.BatchNorm1d(5)
    network = QuadrupletNetwork(norm, Euclidean())
    branches = [images(seed=seed) for seed in range(4)]
    network(*branches)
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 1
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, 0.1 * torch.cat(branches).mean(0), atol=1e-6)


def test_encoders_of_images_are_flattened() -> None:
    network = SiameseNetwork(nn.AdaptiveAvgPool2d(2), Euclidean())
    assert network(torch.rand(3, 2, 8, 8), torch.rand(3, 2, 8, 8)).shape == (3,)
