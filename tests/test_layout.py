"""Groups and norm layers of real networks, found by module; and the laws of what travels."""

from __future__ import annotations

import itertools

import pytest
from torch import nn

from fedmetric.layout import Layout, routes
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.registry import objectives
from tiny import tiny

GROUPS = {"conv": "backbone", "norm": "backbone", "proj": "projector", "slow": "target", "bank": "queue"}
LAYOUT = Layout(GROUPS, frozenset({"conv", "proj"}), private=frozenset({"queue"}), targets=frozenset({"slow"}))
SUBSETS = [set(chosen) for size in range(4) for chosen in itertools.combinations(GROUPS, size)]


@pytest.fixture(scope="module")
def resnet() -> Embedder:
    """A ResNet-18 for small images, whose shortcuts hold norm layers called "downsample.1"."""
    experiment = tiny("model.name=torchvision", "model.arch=resnet18", "image_size=32", "objective.name=byol")
    return build_embedder(experiment, 1)


def of_kind(embedder: Embedder, *kinds: type[nn.Module]) -> set[str]:
    modules = [(name, module) for name, module in embedder.named_modules() if isinstance(module, kinds)]
    return {f"{name}.{key}" for name, module in modules for key in module.state_dict()}


def test_groups_are_listed_in_the_networks_order() -> None:
    assert LAYOUT.of("backbone", "queue") == ["conv", "norm", "bank"]
    assert LAYOUT.outside("backbone", "queue") == ["proj", "slow"]


def test_neither_private_groups_nor_targets_may_always_travel() -> None:
    assert LAYOUT.shareable == ["conv", "norm", "proj"]


def test_by_default_all_but_private_groups_travels_both_ways() -> None:
    way = routes(LAYOUT)
    assert way.up == way.down == way.server == ("conv", "norm", "proj", "slow")
    assert way.own == ("bank",)


def test_what_is_kept_goes_up_and_not_down() -> None:
    way = routes(LAYOUT, local={"slow"}, kept={"norm"})
    assert way.up == ("conv", "norm", "proj")
    assert way.down == ("conv", "proj")
    assert way.own == ("norm", "slow", "bank")


@pytest.mark.parametrize("local", SUBSETS, ids=str)
def test_every_tensor_is_either_taken_from_the_server_or_the_clients_own(local: set[str]) -> None:
    """Whatever a rule keeps: down is part of up, down and own divide the network, private groups never go up."""
    for kept in SUBSETS:
        way = routes(LAYOUT, local, kept)
        assert set(way.down) <= set(way.up)
        assert not set(way.down) & set(way.own)
        assert sorted([*way.down, *way.own]) == sorted(GROUPS)
        assert not {"bank", *local} & set(way.up)
        assert not kept & set(way.down)
        assert [list(GROUPS).index(name) for name in way.up] == sorted(list(GROUPS).index(name) for name in way.up)


def test_norm_layers_are_found_by_module_those_of_shortcuts_too(resnet: Embedder) -> None:
    norms = resnet.layout.norms
    shortcuts = {name for name in norms if ".downsample.1." in name and name.startswith("backbone.")}
    assert len(shortcuts) == 3 * 5  # weight, bias, running mean, running variance, batches
    assert norms == of_kind(resnet, nn.BatchNorm1d, nn.BatchNorm2d)
    assert not of_kind(resnet, nn.Conv2d, nn.Linear) & norms


def test_every_running_mean_comes_with_its_own_variance(resnet: Embedder) -> None:
    found = resnet.layout.statistics
    assert set(found) == {name for name in resnet.state_dict() if name.endswith("running_mean")}
    assert all(variance == mean.replace("running_mean", "running_var") for mean, variance in found.items())
    assert set(found.values()) <= set(resnet.state_dict())


def test_convolutions_are_those_of_the_backbone_in_order(resnet: Embedder) -> None:
    wanted = [name for name in resnet.state_dict() if name in of_kind(resnet, nn.Conv2d) and "target" not in name]
    assert list(resnet.layout.convolutions) == wanted
    assert any(".downsample.0." in name for name in wanted)


def test_what_is_trained_are_the_parameters_with_a_gradient(resnet: Embedder) -> None:
    layout = resnet.layout
    assert layout.parameters == {name for name, value in resnet.named_parameters() if value.requires_grad}
    assert not layout.parameters & layout.targets
    assert layout.targets == set(layout.of("target"))


@pytest.mark.parametrize("name", sorted(objectives))
def test_every_tensor_of_a_network_has_a_group(name: str) -> None:
    embedder = build_embedder(
        tiny(f"objective.name={name}", *(["federation.rule=orchestra"] * (name == "orchestra"))), 1
    )
    layout = embedder.layout
    assert layout.groups.keys() == embedder.state_dict().keys()
    assert set(layout.groups.values()) == {"backbone", *embedder.objective.groups}
    assert layout.private == set(embedder.objective.private)
    assert bool(layout.targets) == bool(embedder.objective.target_policy)
