"""Where a client's state is kept: in Flower's Context, or in files that survive the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from fedmetric.arrays import sha256_of
from fedmetric.clients.app import app
from fedmetric.clients.memory import KEPT, ContextStore, DiskStore, Store, read_memory, store_for
from fedmetric.clients.premises import STATE_DIR, _whole, premises_of
from fedmetric.errors import ProtocolError
from fedmetric.federation.memory import ClientState
from fedmetric.simulations.engines.grid import identify_process, new_context
from fedmetric.training.site import Site
from fedmetric.wire import Request, request_message, unpack_update
from tiny import tiny

RUN = "f" * 64


def state(round: int, client: int = 2) -> ClientState:
    return ClientState(client, round, {"w": np.full(3, round, np.float32)}, {"lambda": np.array(0.5)}, {})


def disk(folder: Path, run: str = RUN, client: int = 2) -> DiskStore:
    return DiskStore(folder, run, client)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=["context", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return ContextStore(new_context(2, 3), 2) if request.param == "context" else disk(tmp_path)


def test_before_the_first_participation_a_state_is_empty(store: Store) -> None:
    assert store.read(1) == ClientState(2)


def test_what_was_written_is_read_in_the_next_round(store: Store) -> None:
    store.write(state(1))
    found = store.read(2)
    assert (found.client, found.last_round) == (2, 1)
    assert sha256_of(found.to_arrays()) == sha256_of(state(1).to_arrays())


def test_the_newest_state_is_what_is_read(store: Store) -> None:
    for round in (1, 2, 5):
        store.write(state(round))
    assert store.read(6).last_round == 5


def test_a_context_that_holds_another_partitions_state_is_refused() -> None:
    context = new_context(2, 3)
    ContextStore(context, 2).write(state(4))
    with pytest.raises(ProtocolError, match="this state belongs to partition 2, not to 1"):
        ContextStore(context, 1).read(5)


def test_files_outlive_the_store_that_wrote_them(tmp_path: Path) -> None:
    disk(tmp_path).write(state(3))
    assert disk(tmp_path).read(4).own["w"].tolist() == [3, 3, 3]


def test_the_last_two_rounds_are_kept_and_nothing_half_written(tmp_path: Path) -> None:
    for round in (1, 2, 3, 12):
        disk(tmp_path).write(state(round))
    assert KEPT == 2
    assert files(tmp_path) == ["round-00000003.safetensors", "round-00000012.safetensors"]


def test_a_server_that_went_back_finds_the_state_from_before_the_round(tmp_path: Path) -> None:
    """After rounds 3 and 4 the server resumes from its checkpoint of round 3 and asks for round 4 again."""
    for round in (3, 4):
        disk(tmp_path).write(state(round))
    assert disk(tmp_path).read(4).last_round == 3
    assert disk(tmp_path).read(3) == ClientState(2)


def test_files_from_the_future_are_forgotten_once_the_past_is_written_again(tmp_path: Path) -> None:
    for round in (7, 8):
        disk(tmp_path).write(state(round))
    disk(tmp_path).write(state(5))
    assert files(tmp_path) == ["round-00000005.safetensors"]
    assert disk(tmp_path).read(9).last_round == 5


@pytest.mark.parametrize("damage", [b"", b"no safetensors", None])
def test_a_damaged_newest_file_is_skipped(tmp_path: Path, damage: bytes | None) -> None:
    for round in (1, 2):
        disk(tmp_path).write(state(round))
    newest = max(tmp_path.rglob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-3] if damage is None else damage)
    assert disk(tmp_path).read(3).last_round == 1


def test_a_file_that_was_never_finished_is_not_read(tmp_path: Path) -> None:
    disk(tmp_path).write(state(1))
    place = next(tmp_path.rglob("*.safetensors"))
    place.with_name("round-00000002.writing").write_bytes(place.read_bytes())
    assert disk(tmp_path).read(3).last_round == 1


@pytest.mark.parametrize(("run", "client"), [("e" * 64, 2), (RUN, 1)])
def test_another_experiment_and_another_client_have_states_of_their_own(tmp_path: Path, run: str, client: int) -> None:
    disk(tmp_path).write(state(4))
    other = disk(tmp_path, run, client)
    assert other.read(5) == ClientState(client)
    other.write(state(9, client))
    assert disk(tmp_path).read(10).last_round == 4


def test_the_node_says_where_its_state_is_kept(tmp_path: Path) -> None:
    here = premises_of(new_context(2, 3).node_config)
    assert isinstance(store_for(new_context(2, 3), here.memory, RUN, 2), ContextStore)
    assert isinstance(store_for(node(tmp_path), premises_of(node(tmp_path).node_config).memory, RUN, 2), DiskStore)


def node(folder: Path) -> Context:
    """Return the context of a fresh process at a site that named a folder."""
    return Context(1, 4, {STATE_DIR: str(folder), "partition-id": 2}, RecordDict(), {})


OPTIONS = ("objective.name=byol", "objective.hidden_dim=16", "objective.output_dim=8")
BYOL = tiny(*OPTIONS)


def second_round(*contexts: Context) -> str:
    """Ask client 2 for two rounds from the same weights, each in a context, and hash what it sends in the second."""
    identify_process()
    trainer = Site(BYOL).trainer
    shared = trainer.embedder.arrays(trainer.routes.down)
    found = ""
    for round, context in enumerate(contexts, start=1):
        _whole.cache_clear()
        reply = app(request_message(Request(BYOL, round, 2, shared, {}), 4), context)
        found = sha256_of(unpack_update(reply.content, round, 2).arrays)
    return found


def test_a_target_goes_on_from_a_folder_as_it_does_from_a_context(tmp_path: Path) -> None:
    """A SuperNode starts a process for every message: its context is new in each round, its folder is not."""
    kept = new_context(2, 3)
    wanted = second_round(kept, kept)
    contexts = [node(tmp_path), node(tmp_path)]
    assert second_round(*contexts) == wanted
    assert all(read_memory(context.state) == {} for context in contexts)
    assert second_round(new_context(2, 3), new_context(2, 3)) != wanted


def test_the_folder_holds_the_target_and_nothing_that_the_server_sends_anyway(tmp_path: Path) -> None:
    second_round(node(tmp_path))
    found = DiskStore(tmp_path, BYOL.fingerprint(), 2).read(2)
    assert found.last_round == 1
    assert found.own
    assert all(name.startswith("objective.target.") for name in found.own)


def test_a_client_that_skipped_too_many_rounds_begins_anew() -> None:
    """With max_staleness 1, a state of round 1 counts in round 2 and not in round 3; with 0 it always does."""
    identify_process()
    shas = {}
    for staleness in (0, 1):
        experiment = tiny(*OPTIONS, "federation.rounds=5", f"federation.max_staleness={staleness}")
        trainer = Site(experiment).trainer
        shared = trainer.embedder.arrays(trainer.routes.down)
        for rounds in ((1, 2), (1, 3), (3,)):
            context = new_context(2, 3)
            for round in rounds:
                reply = app(request_message(Request(experiment, round, 2, shared, {}), 4), context)
            shas[staleness, rounds] = sha256_of(unpack_update(reply.content, rounds[-1], 2).arrays)
    assert shas[1, (1, 3)] == shas[1, (3,)] == shas[0, (3,)]
    assert shas[0, (1, 3)] != shas[0, (3,)]
    assert shas[1, (1, 2)] == shas[0, (1, 2)]


def test_what_is_kept_between_messages_is_for_the_owner_only_and_apart_from_the_state(tmp_path: Path) -> None:
    context, secret = new_context(2, 3), {"key": np.arange(5, dtype=np.uint8), "none": np.zeros((0, 3), np.uint8)}
    for store in (disk(tmp_path), ContextStore(context, 2)):
        assert store.read_kept("aggregation") == {}
        store.write_kept("aggregation", secret)
        store.write(state(1))
        found = store.read_kept("aggregation")
        assert sha256_of(found) == sha256_of(secret)
        assert store.read_kept("identity") == {}
        assert store.read(2).last_round == 1
    (place,) = tmp_path.rglob("aggregation.safetensors")
    assert place.stat().st_mode & 0o077 == 0
    assert not any("key" in name for name in read_memory(context.state))
