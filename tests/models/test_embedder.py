"""The network with its objective: which weights travel, and that they travel by name."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedmetric.config import Experiment, parse_experiment
from fedmetric.errors import ConfigError, ProtocolError
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.objectives.base import Batch, Objective

SMALL = """
image_size = 16
[model]
width = 4
[objective]
hidden_dim = 5
output_dim = 3
"""


def small(text: str = "", overrides: tuple[str, ...] = ()) -> Experiment:
    return parse_experiment(text or SMALL, "small.toml", overrides)


class WithPrivateHead(Objective):
    """An objective one of whose heads stays with the client."""

    private = ("head",)

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.projector = nn.Linear(4, 3)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        features = backbone(batch.views[0])
        value: Tensor = self.head(features).mean() + self.projector(features).mean()
        return value


@pytest.fixture
def embedder() -> Embedder:
    return build_embedder(small(), 1)


def test_groups_are_the_backbone_and_the_children_of_the_objective(embedder: Embedder) -> None:
    layout = embedder.layout
    assert set(layout.groups.values()) == {"backbone", "projector"}
    assert "backbone.block1.conv.weight" in layout.of("backbone")
    assert all(name.startswith("objective.projector.") for name in layout.of("projector"))


def test_without_private_groups_the_whole_state_is_shared(embedder: Embedder) -> None:
    assert sorted(embedder.layout.shareable) == sorted(embedder.state_dict())
    assert sorted(embedder.shared()) == sorted(embedder.state_dict())


def test_private_children_are_not_shared(embedder: Embedder) -> None:
    network = Embedder(embedder.backbone, WithPrivateHead())
    names = network.layout.shareable
    assert "objective.projector.weight" in names
    assert not [name for name in names if "head" in name]
    kept = network.state_dict()["objective.head.weight"].clone()
    network.load({name: np.zeros_like(array) for name, array in network.shared().items()})
    assert torch.equal(network.state_dict()["objective.head.weight"], kept)
    assert not network.state_dict()["objective.projector.weight"].any()


def test_shared_arrays_are_copies_both_ways(embedder: Embedder) -> None:
    first = embedder.shared()
    first["backbone.block1.conv.weight"][:] = 7
    assert not (embedder.shared()["backbone.block1.conv.weight"] == 7).any()
    embedder.load(first)
    first["backbone.block1.conv.weight"][:] = 9
    assert (embedder.shared()["backbone.block1.conv.weight"] == 7).all()


def test_what_is_loaded_is_what_is_shared_bit_for_bit(embedder: Embedder) -> None:
    other = build_embedder(small(), 1, init_seed=99).shared()
    embedder.load(dict(reversed(other.items())))
    found = embedder.shared()
    assert all(found[name].tobytes() == other[name].tobytes() for name in other)
    assert all(array.flags["C_CONTIGUOUS"] for array in found.values())
    assert found["backbone.block1.norm.num_batches_tracked"].dtype == np.int64


def test_a_missing_array_is_named(embedder: Embedder) -> None:
    arrays = embedder.shared()
    del arrays["backbone.block1.conv.weight"]
    with pytest.raises(ProtocolError, match=r"for the embedder: missing arrays \['backbone.block1.conv.weight'\]"):
        embedder.load(arrays)


def test_an_unexpected_array_is_named(embedder: Embedder) -> None:
    with pytest.raises(ProtocolError, match=r"unexpected arrays \['extra'\]"):
        embedder.load(embedder.shared() | {"extra": np.zeros(1)})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 1, 3, 2), np.float32), r"weight is float32 \(4, 1, 3, 2\), expected float32 \(4, 1, 3, 3\)"),
        (np.zeros((4, 1, 3, 3), np.float64), r"weight is float64 \(4, 1, 3, 3\), expected float32 \(4, 1, 3, 3\)"),
    ],
)
def test_a_wrong_shape_or_type_is_named_and_nothing_is_loaded(
    array: np.ndarray, message: str, embedder: Embedder
) -> None:
    before = embedder.shared()
    wrong = {name: np.zeros_like(value) for name, value in before.items()} | {"backbone.block1.conv.weight": array}
    with pytest.raises(ProtocolError, match=message):
        embedder.load(wrong)
    assert all(np.array_equal(value, before[name]) for name, value in embedder.shared().items())


def test_embeddings_have_unit_norm(embedder: Embedder) -> None:
    embeddings = embedder.embed(torch.rand(7, 1, 16, 16))
    assert embeddings.shape == (7, 4)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(7), atol=1e-6)
    assert not embeddings.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_embedding_restores_the_mode_and_leaves_the_statistics_of_norms(training: bool, embedder: Embedder) -> None:
    embedder.train(training)
    before = copy.deepcopy(embedder.state_dict())
    embedder.embed(torch.rand(7, 1, 16, 16))
    assert embedder.training is embedder.backbone.training is training
    assert all(torch.equal(value, before[name]) for name, value in embedder.state_dict().items())


def test_an_embedding_does_not_depend_on_its_neighbours_in_the_batch(embedder: Embedder) -> None:
    images = torch.rand(5, 1, 16, 16)
    assert torch.allclose(embedder.embed(images)[:1], embedder.embed(images[:1]), atol=1e-6)


def test_the_mode_is_restored_after_an_error(embedder: Embedder) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        embedder.train().embed(torch.rand(2, 3, 16, 16))
    assert embedder.training


def test_initial_weights_depend_on_the_seed_alone_and_leave_the_global_generator() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_embedder(small(), 1).shared()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = build_embedder(small(), 1).shared()
    third = build_embedder(small(overrides=("seed=2",)), 1).shared()
    fourth = build_embedder(small(), 1, init_seed=2).shared()
    name = "backbone.block1.conv.weight"
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert not np.array_equal(first[name], third[name])
    assert np.array_equal(third[name], fourth[name])


def test_a_backbone_that_does_not_fit_the_images_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model 'conv4' does not fit image_size=12: .* at least 16, not 12"):
        build_embedder(small("image_size = 12"), 1)


def test_a_transformer_whose_patches_do_not_fit_is_refused() -> None:
    text = 'image_size = 28\nmodel = { name = "torchvision", arch = "vit_b_16" }'
    with pytest.raises(ConfigError, match=r"model 'torchvision' does not fit image_size=28: .*patch size"):
        build_embedder(small(text), 1)


def test_a_backbone_from_outside_is_built_with_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_backbones.py").write_text(
        "from torch import nn\n"
        "def flat(in_channels, image_size, *, width=3):\n"
        '    """Project pixels."""\n'
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, width))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = 'image_size = 8\nmodel = { name = "outside_backbones:flat", width = 6 }'
    embedder = build_embedder(small(text), 3)
    assert embedder.embed(torch.rand(2, 3, 8, 8)).shape == (2, 6)
    assert embedder.layout.of("backbone") == ["backbone.1.weight", "backbone.1.bias"]
    assert embedder.shared()["backbone.1.weight"].shape == (6, 192)


def test_the_gradient_of_the_loss_reaches_backbone_and_heads(embedder: Embedder) -> None:
    embedder.loss(Batch((torch.rand(3, 1, 16, 16), torch.rand(3, 1, 16, 16)))).backward()
    missing = [name for name, parameter in embedder.named_parameters() if parameter.grad is None]
    assert missing == []


class WithLooseTemperature(Objective):
    """An objective with a weight of its own, outside every child."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(1))

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        return backbone(batch.views[0]).mean() * self.temperature.sum()


def test_weights_outside_the_groups_are_refused(embedder: Embedder) -> None:
    """They would be trained, and pass from one client to the next in the same process."""
    with pytest.raises(
        ConfigError, match=r"WithLooseTemperature has weights outside its groups: \['objective.temperat"
    ):
        _ = Embedder(embedder.backbone, WithLooseTemperature()).layout


def test_a_private_group_that_is_not_there_is_refused(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WithPrivateHead, "private", ("haed",))
    with pytest.raises(ConfigError, match=r"WithPrivateHead.private names \['haed'\], which are none of its groups"):
        _ = Embedder(embedder.backbone, WithPrivateHead()).layout
