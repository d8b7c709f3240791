from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedmetric.errors import FedmetricError
from fedmetric.server.checkpoints import (
    Checkpoint,
    checkpoint_folders,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


def checkpoint(round: int) -> Checkpoint:
    shared = {"w": np.full((2, 3), round, np.float32), "count": np.array(round, np.int64)}
    state = {"momentum": np.arange(3, dtype=np.float64)}
    memories = {4: {"last-round": np.array(round, np.int64)}, 11: {"queue": np.ones((2, 2), np.float32)}}
    return Checkpoint(round, shared, state, memories, "fingerprint", ("a", "b"), 12.5)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    place = save_checkpoint(tmp_path, checkpoint(10))
    assert place.name == "round-0010"
    loaded = load_checkpoint(place)
    assert (loaded.round, loaded.fingerprint, loaded.class_hashes, loaded.seconds) == (
        10,
        "fingerprint",
        ("a", "b"),
        12.5,
    )
    np.testing.assert_array_equal(loaded.shared["w"], checkpoint(10).shared["w"])
    assert loaded.shared["count"].dtype == np.int64
    assert loaded.shared["count"].shape == ()
    np.testing.assert_array_equal(loaded.state["momentum"], [0, 1, 2])
    assert set(loaded.memories) == {4, 11}
    assert int(loaded.memories[4]["last-round"]) == 10


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for round in (1, 2, 3, 12):
        save_checkpoint(tmp_path, checkpoint(round))
    assert [place.name for place in checkpoint_folders(tmp_path)] == ["round-0003", "round-0012"]


def test_rounds_past_9999_are_still_in_order(tmp_path: Path) -> None:
    for round in (9999, 10000):
        save_checkpoint(tmp_path, checkpoint(round))
    assert latest_checkpoint(tmp_path)[0].round == 10000


def test_a_checkpoint_of_the_same_round_is_replaced(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(5))
    save_checkpoint(tmp_path, checkpoint(5))
    assert len(checkpoint_folders(tmp_path)) == 1


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "no meta", "bad meta"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_taken(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    place = save_checkpoint(tmp_path, checkpoint(2))
    weights, meta = place / "shared.safetensors", place / "meta.json"
    content = bytearray(weights.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "truncate":
        weights.write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        weights.unlink()
    elif damage == "no meta":
        meta.unlink()
    else:
        meta.write_text("{")
    found, problems = latest_checkpoint(tmp_path)
    assert found.round == 1
    assert len(problems) == 1
    assert "round-0002" in problems[0]


def test_a_flipped_byte_is_named(tmp_path: Path) -> None:
    place = save_checkpoint(tmp_path, checkpoint(1))
    weights = place / "shared.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(FedmetricError, match="shared.safetensors was changed after it was written"):
        load_checkpoint(place)


def test_half_a_checkpoint_left_by_a_kill_is_not_seen(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    half = tmp_path / ".writing-0002"
    half.mkdir()
    (half / "meta.json").write_text(json.dumps({"round": 2}))
    assert latest_checkpoint(tmp_path)[0].round == 1
    save_checkpoint(tmp_path, checkpoint(2))
    assert latest_checkpoint(tmp_path)[0].round == 2


def test_nothing_to_resume_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FedmetricError, match="no checkpoint to resume from"):
        latest_checkpoint(tmp_path)
