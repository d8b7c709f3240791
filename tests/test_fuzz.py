"""Ten thousand damaged frames of each kind: decoders refuse them as they say, and never in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.common.serde import recorddict_from_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict

from fedmetric.arrays import check_same, load_arrays, save_arrays
from fedmetric.config import parse_experiment
from fedmetric.deployment.certificates import new_authority
from fedmetric.deployment.invite import Invite, read_invite
from fedmetric.errors import FedmetricError, ProtocolError, UsageError
from fedmetric.federation.base import Update
from fedmetric.simulations.engines.frames import _records_to_bytes
from fedmetric.wire import Request, pack_request, pack_update, unpack_request, unpack_update

FRAMES = 10_000
ARRAYS = {"backbone.w": np.arange(12, dtype=np.float32).reshape(3, 4), "backbone.n": np.array(2, np.int64)}


def damaged(frame: bytes, rng: np.random.Generator) -> bytes:
    """Flip, cut, double or replace a few bytes."""
    content = bytearray(frame)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(content))) if content else 0
        match rng.integers(5):
            case 0:
                content[place : place + 1] = bytes([content[place] ^ (1 << rng.integers(8))]) if content else b"x"
            case 1:
                del content[place : place + int(rng.integers(1, 9))]
            case 2:
                content[place:place] = content[place : place + int(rng.integers(1, 9))]
            case 3:
                content[place:place] = rng.bytes(int(rng.integers(1, 9)))
            case 4:
                content[place : place + 8] = b"\xff" * 8
    return bytes(content)


def fuzz(frame: bytes, decode: Callable[[bytes], object], refusals: tuple[type[Exception], ...]) -> int:
    """Decode damaged frames; return how many were refused. Anything but a refusal or a result fails."""
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(FRAMES):
        try:
            decode(damaged(frame, rng))
        except refusals:
            refused += 1
    return refused


def test_damaged_updates_are_refused_or_are_updates_of_the_right_form() -> None:
    frame = _records_to_bytes(pack_update(Update(1, ARRAYS, 5, metrics={"loss": 0.5}), 2))

    def decode(content: bytes) -> None:
        try:
            records = recorddict_from_proto(ProtoRecordDict.FromString(content))
        except Exception as error:  # Flower's own decoder; `exchange` takes whatever it raises
            raise ProtocolError("Flower cannot read it") from error
        update = unpack_update(records, 2, 1)
        check_same(update.arrays, ARRAYS, "the reply")
        assert update.num_examples >= 1

    assert fuzz(frame, decode, (ProtocolError,)) > FRAMES / 4


def test_damaged_requests_are_refused_or_are_requests() -> None:
    request = Request(parse_experiment("", overrides=["data.copies=1"]), 1, 0, ARRAYS, {})
    frame = _records_to_bytes(pack_request(request))

    def decode(content: bytes) -> None:
        try:
            records = recorddict_from_proto(ProtoRecordDict.FromString(content))
        except Exception as error:
            raise ProtocolError("Flower cannot read it") from error
        unpack_request(records, ())

    assert fuzz(frame, decode, (ProtocolError,)) > FRAMES / 4


def test_damaged_weight_files_are_refused_or_are_arrays(tmp_path: Path) -> None:
    place = tmp_path / "w.safetensors"
    save_arrays(place, ARRAYS)
    frame = place.read_bytes()

    def decode(content: bytes) -> None:
        place.write_bytes(content)
        for array in load_arrays(place).values():
            array.sum()

    assert fuzz(frame, decode, (FedmetricError,)) > FRAMES / 4


@pytest.mark.parametrize("length", [2**40, 2**63, 2**64 - 1])
def test_a_weight_file_whose_header_lies_about_its_length_is_refused(length: int, tmp_path: Path) -> None:
    place = tmp_path / "w.safetensors"
    place.write_bytes(length.to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}')
    with pytest.raises(FedmetricError, match="w.safetensors"):
        load_arrays(place)


def test_damaged_invites_are_refused_or_are_invites() -> None:
    authority = new_authority("a").certificate.decode()
    text = Invite("a", "north", "server.example", 9443, authority, "token").to_text()
    assert fuzz(text.encode(), lambda content: read_invite(content.decode("latin-1")), (UsageError,)) > FRAMES / 4
