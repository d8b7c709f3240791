"""What is packed is what is unpacked; anything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ConfigRecord, Error, Message, MetricRecord, RecordDict

from fedmetric.arrays import Arrays, sha256_of
from fedmetric.config import parse_experiment
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import Update
from fedmetric.simulations.engines.grid import identify_process
from fedmetric.wire import (
    CLIENT_FAILED,
    PROTOCOL,
    ClientFailure,
    Request,
    failure_reply,
    pack_request,
    pack_update,
    read_failure,
    request_message,
    unpack_arrays,
    unpack_request,
    unpack_update,
)

ARRAYS: Arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(4, np.int64)}


@pytest.fixture
def process() -> None:
    """Give this process the identity without which Flower builds no messages."""
    identify_process()


def request(extra: Arrays | None = None) -> Request:
    experiment = parse_experiment("", overrides=["local.lr=0.125", "federation.rule=fedprox", "federation.rounds=9"])
    return Request(experiment, 3, 7, ARRAYS, extra or {})


def update(**changes: object) -> Update:
    return Update(**({"client": 7, "arrays": ARRAYS, "num_examples": 30, "metrics": {"loss": 0.5}} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("extra", [{}, {"control": np.ones(3, np.float64)}])
def test_a_request_survives_the_way(extra: Arrays) -> None:
    sent = request(extra)
    found = unpack_request(pack_request(sent))
    assert (found.experiment, found.round, found.client) == (sent.experiment, 3, 7)
    assert sha256_of(found.shared) == sha256_of(ARRAYS)
    assert sha256_of(found.extra) == sha256_of(extra)
    assert found.shared["n"].shape == ()


@pytest.mark.parametrize("extra", [{}, {"control": np.ones(3, np.float64)}])
def test_an_update_survives_the_way(extra: Arrays) -> None:
    found = unpack_update(pack_update(update(extra=extra), 3), 3, 7)
    assert (found.client, found.num_examples, found.metrics) == (7, 30, {"loss": 0.5})
    assert sha256_of(found.arrays) == sha256_of(ARRAYS)
    assert sha256_of(found.extra) == sha256_of(extra)


def test_a_metric_named_as_the_count_is_no_count() -> None:
    found = unpack_update(pack_update(update(metrics={"num-examples": 5.0, "metric.x": 1.0}), 3), 3, 7)
    assert found.num_examples == 30
    assert found.metrics == {"num-examples": 5.0, "metric.x": 1.0}


def test_unpacked_arrays_are_not_the_packed_ones() -> None:
    array = np.zeros(2)
    record = pack_request(Request(request().experiment, 1, 0, {"w": array}, {}))
    array[:] = 9
    assert unpack_request(record).shared["w"].tolist() == [0, 0]


def test_a_record_that_is_not_there_is_empty() -> None:
    assert unpack_arrays(RecordDict(), "arrays") == {}


@pytest.mark.parametrize("protocol", [PROTOCOL + 1, "1", None])
def test_a_request_of_another_protocol_is_refused_with_what_to_do(protocol: object) -> None:
    content = pack_request(request())
    config = dict(content.config_records["config"]) | {"protocol": protocol}
    content["config"] = ConfigRecord({key: value for key, value in config.items() if value is not None})  # type: ignore[misc]
    with pytest.raises(ProtocolError, match=rf"speaks protocol {protocol!r}, this client {PROTOCOL}; install the same"):
        unpack_request(content)


def test_an_empty_request_is_refused() -> None:
    with pytest.raises(ProtocolError, match="speaks protocol None"):
        unpack_request(RecordDict())


@pytest.mark.parametrize(
    ("key", "value"), [("round", None), ("client", None), ("experiment", None), ("experiment", "{"), ("round", [1, 2])]
)
def test_an_incomplete_request_is_refused(key: str, value: object) -> None:
    content = pack_request(request())
    config = {**content.config_records["config"], key: value}
    content["config"] = ConfigRecord({name: given for name, given in config.items() if given is not None})  # type: ignore[misc]
    with pytest.raises(ProtocolError, match="the request is incomplete: "):
        unpack_request(content)


@pytest.mark.parametrize(("round", "client"), [(4, 7), (3, 8), (0, 0)])
def test_an_update_for_another_round_or_client_is_refused(round: int, client: int) -> None:
    content = pack_update(update(), 3)
    with pytest.raises(ProtocolError) as caught:
        unpack_update(content, round, client)
    assert str(caught.value) == (
        f"the reply is for (protocol, round, client) {(PROTOCOL, 3, 7)}, asked for {(PROTOCOL, round, client)}"
    )


@pytest.mark.parametrize("protocol", [PROTOCOL + 1, str(PROTOCOL)])
def test_an_update_of_another_protocol_is_refused(protocol: object) -> None:
    content = pack_update(update(), 3)
    content.config_records["config"]["protocol"] = protocol  # type: ignore[assignment]
    with pytest.raises(ProtocolError, match=r"the reply is for \(protocol, round, client\)"):
        unpack_update(content, 3, 7)


@pytest.mark.parametrize("count", [0, -1, 1.0, 2.5, [3], None])
def test_a_count_of_images_that_is_not_at_least_one_is_refused(count: object) -> None:
    content = pack_update(update(), 3)
    content["metrics"] = MetricRecord({} if count is None else {"num-examples": count})  # type: ignore[dict-item]
    with pytest.raises(ProtocolError) as caught:
        unpack_update(content, 3, 7)
    assert str(caught.value) == f"num-examples is {count!r}, a whole number of at least 1 is needed"


def test_metrics_that_are_no_numbers_are_refused() -> None:
    content = pack_update(update(), 3)
    content.metric_records["metrics"]["metric.loss"] = [1.0, 2.0]
    with pytest.raises(ProtocolError, match="the reply cannot be read: "):
        unpack_update(content, 3, 7)


@pytest.mark.parametrize(
    "array",
    [
        Array("float32", (3,), "numpy.ndarray", b"no array"),
        Array("float32", (3,), "numpy.ndarray", b""),
        Array("float32", (3,), "another format", b""),
    ],
)
def test_bytes_that_are_no_array_are_refused(array: Array) -> None:
    content = pack_update(update(), 3)
    content.array_records["arrays"]["w"] = array
    with pytest.raises(ProtocolError, match="the reply cannot be read: "):
        unpack_update(content, 3, 7)


def test_a_message_goes_to_its_node(process: None) -> None:
    message = request_message(request(), node=12)
    assert message.metadata.dst_node_id == 12
    assert message.metadata.message_type == "train"
    assert message.metadata.group_id == "3"
    assert unpack_request(message.content).client == 7


def test_a_failure_survives_the_way(process: None) -> None:
    failure = ClientFailure(7, 3, "training", 'FedmetricError: the loss is nan; {quoted} "text"')
    reply: Message = failure_reply(failure, request_message(request(), node=12))
    assert reply.has_error()
    assert reply.error.code == CLIENT_FAILED
    assert read_failure(reply.error, 0, 0) == failure
    assert str(failure).startswith("client 7, round 3, training: FedmetricError")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Error(3, "node unavailable"), "error 3: node unavailable"),
        (Error(0), "error 0: no reason given"),
        (Error(CLIENT_FAILED, "not json"), f"error {CLIENT_FAILED}: not json"),
        (Error(CLIENT_FAILED, '{"client": 1}'), f'error {CLIENT_FAILED}: {{"client": 1}}'),
        (Error(CLIENT_FAILED, "[1]"), f"error {CLIENT_FAILED}: [1]"),
    ],
)
def test_an_error_that_fedmetric_did_not_write_is_one_of_the_transport(error: Error, text: str) -> None:
    assert read_failure(error, 3, 7) == ClientFailure(7, 3, "transport", text)
