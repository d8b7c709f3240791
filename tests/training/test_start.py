"""Starting from trained weights, and leaving parts of them as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmetric.arrays import Arrays, save_arrays
from fedmetric.config.experiment import Start
from fedmetric.errors import ConfigError
from fedmetric.models.backbones.conv4 import conv4
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.objectives.base import Batch
from fedmetric.objectives.simclr import SimCLR
from fedmetric.objectives.triplet import Triplet
from fedmetric.simulations.launch import start_run
from fedmetric.training.start import starting_weights, with_the_hash_of_its_start
from tiny import tiny

Overrides = tuple[str, ...]


def backbone() -> Arrays:
    return {
        name: array + 1 for name, array in build_embedder(tiny(), 1).shared().items() if name.startswith("backbone.")
    }


def saved(folder: Path, arrays: Arrays) -> Start:
    save_arrays(folder / "weights.safetensors", arrays)
    return Start(weights=str(folder / "weights.safetensors"))


@pytest.mark.parametrize("rename", [str, lambda name: name.removeprefix("backbone.")])
def test_a_file_gives_every_tensor_of_the_backbone_with_or_without_the_prefix(
    rename: Callable[[str], str], tmp_path: Path
) -> None:
    arrays = backbone()
    start = saved(tmp_path, {rename(name): array for name, array in arrays.items()} | {"fc.weight": np.ones(3)})
    found = starting_weights(start, arrays)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    arrays = backbone()
    first = next(iter(arrays))
    lacking = saved(tmp_path, {name: array for name, array in arrays.items() if name != first})
    with pytest.raises(ConfigError, match=f"1 tensors are missing .'{first}'.*choose the model that the file was made"):
        starting_weights(lacking, arrays)
    with pytest.raises(ConfigError, match=r"1 are not the model's \['more'\]"):
        starting_weights(saved(tmp_path, arrays | {"more": np.ones(1)}), arrays)
    with pytest.raises(ConfigError, match=rf"{first} is \(1, 2\), the model has"):
        starting_weights(saved(tmp_path, arrays | {first: np.ones((1, 2), np.float32)}), arrays)


def test_places_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"anything")
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    for place, message in (
        (tmp_path / "none", "is no file, and no folder of a run or a model"),
        (tmp_path / "x.pth", "is not a .safetensors file. Files that can run code .* convert one that you trust"),
        (tmp_path / "x.safetensors", "start.weights: "),
    ):
        with pytest.raises(ConfigError, match=message):
            starting_weights(Start(weights=str(place)), backbone())


def test_another_file_under_the_same_name_is_refused(tmp_path: Path) -> None:
    weights = saved(tmp_path, backbone()).weights
    pinned = with_the_hash_of_its_start(tiny(f'start.weights="{weights}"')).start
    assert len(pinned.sha256) == 64
    starting_weights(pinned, backbone())
    saved(tmp_path, {name: array + 1 for name, array in backbone().items()})
    with pytest.raises(ConfigError, match="has sha256 .*, the experiment asks for"):
        starting_weights(pinned, backbone())


def test_frozen_layers_do_not_learn_and_keep_their_statistics() -> None:
    torch.manual_seed(1)
    network = Embedder(conv4(1, 16, width=4), SimCLR(4, hidden_dim=4, output_dim=4), ["block1", "block2"])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimiser = torch.optim.Adam([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    loss = network.loss(Batch((torch.rand(6, 1, 16, 16), torch.rand(6, 1, 16, 16))))
    loss.backward()
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("backbone.block1", "backbone.block2")) for name in changed)
    assert {"backbone.block3.conv.weight", "backbone.block3.norm.running_mean"} <= changed
    assert "backbone.block1.conv.weight" not in network.layout.parameters


def test_freezing_what_is_not_there_or_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"start.freeze: the backbone has no \['layer9'\]; it has block1, .* or '\*'"):
        Embedder(conv4(1, 16, width=4), SimCLR(4), ["layer9"])
    Embedder(conv4(1, 16, width=4), SimCLR(4), ["*"])
    with pytest.raises(ConfigError, match="start.freeze leaves nothing to train"):
        Embedder(conv4(1, 16, width=4), Triplet(4), ["*"])


def ignore(event: Any) -> None:
    pass


def test_a_run_goes_on_from_another_run_and_is_measured_beside_it(tmp_path: Path) -> None:
    """With no round to train, the result is the start; frozen weights and their statistics are those of the start."""
    start_run(tiny("federation.rounds=1", "evaluation.every=0"), tmp_path / "first", ignore, workers=1)
    start = f'start={{weights="{tmp_path / "first"}", freeze=["block1"]}}'
    still = start_run(tiny("federation.rounds=0", start), tmp_path / "still", ignore, workers=1)
    assert still["evaluation"]["trained"]["recall@1"] == still["evaluation"]["start"]["recall@1"]
    assert still["evaluation"]["start"]["map@r"] != still["evaluation"]["random"]["map@r"]
    objective = 'objective={name="proxy-nca"}'
    for norm in ("average", "recalibrate"):
        tuned = tiny("federation.rounds=1", "evaluation.every=0", start, objective, f"federation.norm={norm}")
        start_run(tuned, tmp_path / norm, ignore, workers=1)
        first, later = (read_model(tmp_path / name) for name in ("first", norm))
        frozen = [name for name in first if name.startswith("backbone.block1")]
        assert frozen
        assert all(np.array_equal(first[name], later[name]) for name in frozen)
        assert not np.array_equal(first["backbone.block2.conv.weight"], later["backbone.block2.conv.weight"])


def read_model(folder: Path) -> Arrays:
    from fedmetric.arrays import load_arrays

    return load_arrays(folder / "model" / "model.safetensors")


def test_clients_that_share_nothing_start_from_the_file_as_well(tmp_path: Path) -> None:
    """With a frozen backbone, each client's own network embeds as the start does."""
    start_run(tiny("federation.rounds=1", "evaluation.every=0"), tmp_path / "first", ignore, workers=1)
    start = f'start={{weights="{tmp_path / "first"}", freeze=["*"]}}'
    alone = tiny("federation.rounds=1", "evaluation.every=0", "federation.rule=solo", start)
    summary = start_run(alone, tmp_path / "alone", ignore, workers=1)["evaluation"]
    assert summary["trained"]["map@r"]["mean"] == pytest.approx(summary["start"]["map@r"]["mean"], abs=1e-12)
    assert summary["start"]["map@r"]["mean"] != summary["random"]["map@r"]["mean"]
