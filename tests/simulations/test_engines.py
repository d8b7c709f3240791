"""The in-process grid and its workers, down to a worker that is killed."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Context, Message

from fedmetric.clients.memory import read_memory, write_memory
from fedmetric.simulations.engines.frames import pack_result, pack_task, unpack_result, unpack_task
from fedmetric.simulations.engines.grid import FIRST_NODE, LocalGrid, identify_process, new_context
from fedmetric.simulations.engines.inline import InlineWorkers
from fedmetric.simulations.engines.processes import ProcessWorkers, default_workers, settings, start_method
from fedmetric.training.site import Site
from fedmetric.wire import (
    ClientFailure,
    Request,
    failure_reply,
    read_failure,
    request_message,
    unpack_request,
    unpack_update,
)
from tiny import tiny


def request(client: int = 0) -> Request:
    return Request(tiny(), 3, client, Site(tiny()).trainer.embedder.shared(), {"extra": np.ones(2, np.float32)})


def echo(message: Message, context: Context) -> Message:
    write_memory(context.state, {"visits": read_memory(context.state).get("visits", np.array(0)) + 1})
    return Message(message.content, reply_to=message)


def test_a_task_survives_the_way_to_another_process() -> None:
    identify_process()
    message, context = request_message(request(2), FIRST_NODE + 2), new_context(2, 3)
    write_memory(context.state, {"queue": np.arange(3)})
    identifier, arrived, there = unpack_task(pack_task("m1", message, context))
    assert identifier == arrived.metadata.message_id == "m1"
    asked = unpack_request(arrived.content)
    assert (asked.client, asked.round, asked.experiment) == (2, 3, tiny())
    np.testing.assert_array_equal(asked.extra["extra"], [1, 1])
    np.testing.assert_array_equal(read_memory(there.state)["queue"], [0, 1, 2])
    assert dict(there.node_config) == {"partition-id": 2, "num-partitions": 3}
    assert arrived.metadata.group_id == "3"


def test_a_reply_survives_the_way_back_content_or_error() -> None:
    identify_process()
    message, context = request_message(request(), FIRST_NODE), new_context(0, 3)
    reply, state = unpack_result(pack_result("m1", echo(message, context), context), message)
    assert unpack_request(reply.content).round == 3
    assert int(read_memory(state)["visits"]) == 1
    failure = ClientFailure(0, 3, "data", "gone")
    reply, _ = unpack_result(pack_result("m1", failure_reply(failure, message), context), message)
    assert read_failure(reply.error, 3, 0) == failure


def test_the_grid_keeps_every_clients_state_between_messages() -> None:
    grid = LocalGrid(3, InlineWorkers(echo))  # type: ignore[arg-type]
    for _ in range(2):
        grid.send_and_receive([request_message(request(1), FIRST_NODE + 1)])
    grid.send_and_receive([request_message(request(2), FIRST_NODE + 2)])
    assert {client: int(memory["visits"]) for client, memory in grid.snapshot().items()} == {1: 2, 2: 1}


def test_a_restored_grid_goes_on_where_the_other_stopped() -> None:
    grid = LocalGrid(3, InlineWorkers(echo))  # type: ignore[arg-type]
    grid.restore({2: {"visits": np.array(5)}})
    grid.send_and_receive([request_message(request(2), FIRST_NODE + 2)])
    assert int(grid.snapshot()[2]["visits"]) == 6


def test_the_grid_gives_out_a_node_for_every_client_and_ids_for_messages() -> None:
    """Guards the private names of flwr that the grid sets: an id on the message, and the process's identity."""
    grid = LocalGrid(2, InlineWorkers(echo))  # type: ignore[arg-type]
    assert list(grid.get_node_ids()) == [FIRST_NODE, FIRST_NODE + 1]
    message = grid.create_message(request_message(request(), FIRST_NODE).content, "train", FIRST_NODE, "1")
    (identifier,) = grid.push_messages([message])
    assert message.metadata.message_id == identifier
    (reply,) = grid.pull_messages([identifier])
    assert reply.metadata.reply_to_message_id == identifier
    assert reply.metadata.src_node_id == FIRST_NODE
    assert grid.run.run_id == message.metadata.run_id


@pytest.fixture(scope="module")
def crew() -> ProcessWorkers:
    identify_process()
    workers = ProcessWorkers(2)
    yield workers
    workers.close()


def test_processes_answer_in_any_order(crew: ProcessWorkers) -> None:
    for client in range(3):
        crew.submit(f"m{client}", request_message(request(client), FIRST_NODE + client), new_context(client, 3))
    for client in (2, 0, 1):
        reply, context = crew.result(f"m{client}")
        assert unpack_update(reply.content, 3, client).num_examples > 0
        assert int(read_memory(context.state)["last-round"]) == 3


def test_a_worker_that_is_killed_is_an_error_reply_and_is_replaced(crew: ProcessWorkers) -> None:
    crew.submit("doomed", request_message(request(0), FIRST_NODE), new_context(0, 3))
    (victim,) = [worker for worker in crew._workers if worker.busy_with == "doomed"]
    victim.process.kill()
    reply, _ = crew.result("doomed")
    failure = read_failure(reply.error, 3, 0)
    assert (failure.client, failure.round, failure.stage) == (0, 3, "training")
    assert "its process ended with exit code -9" in failure.error
    crew.submit("next", request_message(request(1), FIRST_NODE + 1), new_context(1, 3))
    reply, _ = crew.result("next")
    assert unpack_update(reply.content, 3, 1).num_examples > 0


def test_closing_ends_busy_processes_too() -> None:
    identify_process()
    workers = ProcessWorkers(1)
    workers.submit("m", request_message(request(0), FIRST_NODE), new_context(0, 3))
    process = workers._workers[0].process
    workers.close()
    assert not process.is_alive()


def test_workers_are_told_where_the_data_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDMETRIC_DATA", "somewhere")
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    assert settings()["FEDMETRIC_DATA"] == "somewhere"
    assert "SECRET_TOKEN" not in settings()


def test_there_is_a_start_method_and_at_least_one_worker() -> None:
    assert start_method() in ("forkserver", "spawn")
    assert default_workers() >= 1
