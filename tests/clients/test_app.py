"""The ClientApp called directly: whatever is wrong is an error reply with client, round and stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedmetric.clients.app import app
from fedmetric.clients.memory import read_memory, write_memory
from fedmetric.simulations.engines.grid import identify_process, new_context
from fedmetric.training.site import Site
from fedmetric.wire import ClientFailure, Request, pack_request, read_failure, request_message, unpack_update
from tiny import tiny


@pytest.fixture(scope="module")
def request_() -> Request:
    identify_process()
    return Request(tiny(), 1, 2, Site(tiny()).trainer.embedder.shared(), {})


def context() -> Context:
    return new_context(2, 3)


def failure_of(message: Message) -> ClientFailure:
    reply = app(message, context())
    assert reply.has_error()
    return read_failure(reply.error, 1, 2)


def test_a_request_is_answered_with_an_update_and_the_round_is_remembered(request_: Request) -> None:
    place = context()
    reply = app(request_message(request_, 4), place)
    update = unpack_update(reply.content, 1, 2)
    assert update.arrays.keys() == request_.shared.keys()
    assert update.num_examples == len(Site(tiny()).parts[2]) // 64 * 64
    assert not np.array_equal(
        update.arrays["backbone.block1.conv.weight"], request_.shared["backbone.block1.conv.weight"]
    )
    assert int(read_memory(place.state)["last-round"]) == 1


def test_the_same_request_gives_the_same_update_again(request_: Request) -> None:
    first, second = (unpack_update(app(request_message(request_, 4), context()).content, 1, 2) for _ in range(2))
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name])


def test_another_protocol_is_an_error_reply(request_: Request) -> None:
    content = pack_request(request_)
    content.config_records["config"]["protocol"] = 99
    failure = failure_of(Message(content, dst_node_id=4, message_type="train", group_id="1"))
    assert failure.stage == "request"
    assert "the server speaks protocol 99, this client 4" in failure.error


def test_a_message_without_a_request_is_an_error_reply() -> None:
    identify_process()
    empty = Message(RecordDict({"config": ConfigRecord()}), dst_node_id=4, message_type="train", group_id="1")
    assert "the server speaks protocol None" in failure_of(empty).error


def test_a_client_that_does_not_exist_is_an_error_of_the_stage_data(request_: Request) -> None:
    failure = failure_of(request_message(replace(request_, client=7), 4))
    assert (failure.client, failure.round, failure.stage) == (7, 1, "data")
    assert "client 7 asked for, but the partition has 3 clients" in failure.error


def test_weights_of_another_network_are_an_error_of_the_stage_training(request_: Request) -> None:
    failure = failure_of(request_message(replace(request_, shared={"w": np.zeros(1, np.float32)}), 4))
    assert failure.stage == "training"
    assert "unexpected arrays ['w']" in failure.error


def test_a_failed_client_does_not_remember_the_round(request_: Request) -> None:
    place = context()
    app(request_message(replace(request_, shared={}), 4), place)
    assert read_memory(place.state) == {}


def test_memory_survives_being_written_and_read() -> None:
    state = RecordDict()
    assert read_memory(state) == {}
    write_memory(state, {"queue": np.arange(6, dtype=np.float32).reshape(2, 3), "pointer": np.array(4, np.int64)})
    memory = read_memory(state)
    np.testing.assert_array_equal(memory["queue"], [[0, 1, 2], [3, 4, 5]])
    assert memory["pointer"].dtype == np.int64
