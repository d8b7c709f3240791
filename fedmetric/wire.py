"""Flower records on the outside, typed requests and updates on the inside; nothing else in fedmetric packs or
unpacks a message.

A request holds the whole experiment: a client has no settings of its own that could silently stand in for a missing
one, and a missing or different protocol number is an error reply.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict
from numpy.typing import NDArray

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.errors import ConfigError, ProtocolError
from fedmetric.federation.base import Update
from fedmetric.privacy.secure.tables import Tables
from fedmetric.registry import EXTERNAL

PROTOCOL = 4
SETTING: dict[str, Any] = {"clients": int, "channels": int, "evaluated": tuple}
Task: TypeAlias = Literal["train", "calibrate", "advertise", "share", "unmask"]
MESSAGE_TYPES: dict[Task, str] = {
    "train": MessageType.TRAIN,
    "calibrate": MessageType.EVALUATE,
    "advertise": f"{MessageType.QUERY}.advertise",
    "share": f"{MessageType.QUERY}.share",
    "unmask": f"{MessageType.QUERY}.unmask",
}
CLIENT_FAILED = 100
"""Flower error code of a client that raised; codes below belong to Flower."""


@dataclass(frozen=True)
class Setting:
    """What a client that holds nothing but its own images must be told of the rest.

    Attributes:
        clients: in the federation.
        channels: of the images, 1 or 3.
        evaluated: hashes of the classes that the server evaluates on, which no client may train on.
    """

    clients: int = 0
    channels: int = 0
    evaluated: tuple[str, ...] = ()


NO_SETTING = Setting()
"""For clients that hold the whole data set."""


@dataclass(frozen=True)
class Request:
    """What the server asks of one client in one round.

    Attributes:
        experiment: the whole experiment.
        round: server round from 1.
        client: index of the data partition.
        shared: the server's weights, those that go down.
        extra: the rule's broadcast.
        task: "train", "calibrate" to measure the norm layers' statistics under the weights, or a stage of secure
            aggregation: "advertise", "share", "unmask"; with it on, "train" is the stage of masked vectors.
        setting: of the federation.
        secure: what belongs to secure aggregation; see `fedmetric.privacy.secure.tables`.
    """

    experiment: Experiment
    round: int
    client: int
    shared: Arrays
    extra: Arrays
    task: Task = "train"
    setting: Setting = NO_SETTING
    secure: Tables = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a client says at a stage of secure aggregation.

    Attributes:
        client: index of the data partition.
        secure: tables; see `fedmetric.privacy.secure.tables`.
    """

    client: int
    secure: Tables


@dataclass(frozen=True)
class ClientFailure:
    """Why a client could not do its part: `stage` is "request", "data", "training", "calibration", "advertising",
    "sharing", "unmasking", "reply" or "transport"."""

    client: int
    round: int
    stage: str
    error: str

    def __str__(self) -> str:
        return f"client {self.client}, round {self.round}, {self.stage}: {self.error}"


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Copy arrays into a Flower record."""
    return ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})


def unpack_arrays(content: RecordDict, name: str) -> Arrays:
    """Read the record of this name as arrays; a record that is not there is empty, as Flower drops empty ones."""
    record = content.array_records.get(name)
    return {} if record is None else {key: value.numpy() for key, value in record.items()}


def pack_request(request: Request) -> RecordDict:
    """Turn a request into records."""
    config = ConfigRecord(
        {
            "protocol": PROTOCOL,
            "experiment": json.dumps(request.experiment.resolved(), sort_keys=True),
            "round": request.round,
            "client": request.client,
            "setting": json.dumps(asdict(request.setting)),
        }
    )
    records = {
        "config": config,
        "shared": pack_arrays(request.shared),
        "extra": pack_arrays(request.extra),
        "secure": pack_tables(request.secure),
    }
    return RecordDict(records)  # type: ignore[arg-type]


def pack_tables(tables: Tables) -> ConfigRecord:
    """Turn tables into a record: two lists for each."""
    record = ConfigRecord()
    for name, table in tables.items():
        record[f"{name}.clients"], record[name] = list(table), list(table.values())
    return record


def unpack_tables(content: RecordDict) -> Tables:
    """Read the tables of a message; none where there are none.

    Raises:
        ProtocolError: they are no tables of bytes by client.
    """
    record, found = content.config_records.get("secure", ConfigRecord()), dict[str, dict[int, bytes]]()
    for name in (name for name in record if not name.endswith(".clients")):
        clients, values = record.get(f"{name}.clients"), record[name]
        if not (isinstance(clients, list) and isinstance(values, list) and len(set(clients)) == len(values)):
            raise ProtocolError(f"'{name}' is no table with one value for each client")
        if not all(type(client) is int and type(value) is bytes for client, value in zip(clients, values, strict=True)):
            raise ProtocolError(f"'{name}' is no table of bytes by client")
        found[name] = dict(zip(clients, values, strict=True))  # type: ignore[arg-type]
    return found


def unpack_request(content: RecordDict, external: Collection[str] | None = None) -> Request:
    """Read a request.

    Args:
        content: records of the message.
        external: methods outside fedmetric that it may name; None for any. Naming one imports it, so this is checked
            before the experiment is.

    Raises:
        ProtocolError: it was not written by this version of the protocol, is incomplete, or names another method.
    """
    config = content.config_records.get("config", ConfigRecord())
    if config.get("protocol") != PROTOCOL:
        raise ProtocolError(
            f"the server speaks protocol {config.get('protocol')!r}, this client {PROTOCOL}; install the same fedmetric"
        )
    try:
        raw = json.loads(str(config["experiment"]))
        if external is not None and (strange := external_names(raw) - set(external)):
            raise ProtocolError(f"methods outside fedmetric are named that are not allowed here: {sorted(strange)}")
        experiment = Experiment.model_validate(raw)
        round, client = int(config["round"]), int(config["client"])  # type: ignore[arg-type]
        setting = Setting(**{key: kind(json.loads(str(config["setting"]))[key]) for key, kind in SETTING.items()})
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise ProtocolError(f"the request is incomplete: {error}") from error
    try:
        shared, extra = unpack_arrays(content, "shared"), unpack_arrays(content, "extra")
    except Exception as error:  # NumPy raises errors of many classes for bytes that are no array
        raise ProtocolError(f"the request's arrays cannot be read: {error}") from error
    return Request(experiment, round, client, shared, extra, setting=setting, secure=unpack_tables(content))


def external_names(value: Any) -> set[str]:
    """Return every text in plain values that would be read as a method outside fedmetric."""
    if isinstance(value, str):
        return {value} if EXTERNAL.fullmatch(value) else set()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(external_names, parts))


def pack_update(update: Update, round: int) -> RecordDict:
    """Turn an update into records."""
    config = ConfigRecord({"protocol": PROTOCOL, "client": update.client, "round": round})
    metrics = MetricRecord(
        {
            **{f"metric.{key}": float(value) for key, value in update.metrics.items()},
            "num-examples": update.num_examples,
        }
    )
    records = {
        "config": config,
        "metrics": metrics,
        "arrays": pack_arrays(update.arrays),
        "extra": pack_arrays(update.extra),
    }
    return RecordDict(records)  # type: ignore[arg-type]


def unpack_update(content: RecordDict, round: int, client: int) -> Update:
    """Read the update that was asked of a client.

    Raises:
        ProtocolError: it belongs to another round or client, or is incomplete.
    """
    check_reply(content, round, client)
    metrics = content.metric_records.get("metrics", MetricRecord())
    count = metrics.get("num-examples")
    if not isinstance(count, int) or count < 1:
        raise ProtocolError(f"num-examples is {count!r}, a whole number of at least 1 is needed")
    try:
        named = {key.removeprefix("metric."): value for key, value in metrics.items() if key.startswith("metric.")}
        kept = {key: float(value) for key, value in named.items()}  # type: ignore[arg-type]
        return Update(client, unpack_arrays(content, "arrays"), count, unpack_arrays(content, "extra"), kept)
    except Exception as error:  # NumPy raises errors of many classes for bytes that are no array
        raise ProtocolError(f"the reply cannot be read: {error}") from error


def check_reply(content: RecordDict, round: int, client: int) -> None:
    """Refuse a reply that was not asked for.

    Raises:
        ProtocolError: it belongs to another round or client, or speaks another protocol.
    """
    config = content.config_records.get("config", ConfigRecord())
    given = (config.get("protocol"), config.get("round"), config.get("client"))
    if given != (PROTOCOL, round, client):
        raise ProtocolError(
            f"the reply is for (protocol, round, client) {given}, asked for {(PROTOCOL, round, client)}"
        )


def pack_answer(answer: Answer, round: int) -> RecordDict:
    """Turn what a client says at a stage of secure aggregation into records."""
    config = ConfigRecord({"protocol": PROTOCOL, "client": answer.client, "round": round})
    return RecordDict({"config": config, "secure": pack_tables(answer.secure)})


def unpack_answer(content: RecordDict, round: int, client: int) -> Answer:
    """Read what was asked of a client at a stage of secure aggregation.

    Raises:
        ProtocolError: it belongs to another round or client, or cannot be read.
    """
    check_reply(content, round, client)
    return Answer(client, unpack_tables(content))


def request_message(request: Request, node: int, seconds: float | None = None) -> Message:
    """Build the message that carries a request to a node; the task is told by Flower's message type.

    Args:
        request: what is asked.
        node: of the client.
        seconds: after which it is no longer delivered; None for Flower's default.
    """
    kind = MESSAGE_TYPES[request.task]
    group = str(request.round)
    return Message(pack_request(request), dst_node_id=node, message_type=kind, group_id=group, ttl=seconds)


def failure_reply(failure: ClientFailure, message: Message) -> Message:
    """Build the error reply to a message."""
    return Message(Error(CLIENT_FAILED, json.dumps(vars(failure))), reply_to=message)


def read_failure(error: Error, round: int, client: int) -> ClientFailure:
    """Read an error reply; one that Flower itself made is a failure of the transport."""
    if error.code == CLIENT_FAILED and error.reason:
        try:
            return ClientFailure(**json.loads(error.reason))
        except (ValueError, TypeError):
            pass
    return ClientFailure(client, round, "transport", f"error {error.code}: {error.reason or 'no reason given'}")
