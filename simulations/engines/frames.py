"""Messages and contexts as bytes between the processes of one machine: Flower's own protobuf form, no pickle."""

from __future__ import annotations

import json
import struct

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict

from fedmetric.simulations.engines.grid import identify_message

LENGTH = struct.Struct("<Q")


def _pack(*parts: bytes) -> bytes:
    return b"".join(piece for part in parts for piece in (LENGTH.pack(len(part)), part))


def _unpack(frame: bytes) -> list[bytes]:
    parts, position = [], 0
    while position < len(frame):
        (length,) = LENGTH.unpack_from(frame, position)
        position += LENGTH.size
        parts.append(frame[position : position + length])
        position += length
    return parts


def _records_to_bytes(records: RecordDict) -> bytes:
    return bytes(recorddict_to_proto(records).SerializeToString(deterministic=True))


def _records_from_bytes(data: bytes) -> RecordDict:
    return recorddict_from_proto(ProtoRecordDict.FromString(data))


def pack_task(identifier: str, message: Message, context: Context) -> bytes:
    """Write a message and the context of the client it goes to."""
    head = {
        "identifier": identifier,
        "type": message.metadata.message_type,
        "group": message.metadata.group_id,
        "run": context.run_id,
        "node": context.node_id,
        "config": dict(context.node_config),
    }
    return _pack(json.dumps(head).encode(), _records_to_bytes(message.content), _records_to_bytes(context.state))


def unpack_task(frame: bytes) -> tuple[str, Message, Context]:
    """Read what `pack_task` wrote."""
    head_bytes, content, state = _unpack(frame)
    head = json.loads(head_bytes)
    message = Message(
        _records_from_bytes(content), dst_node_id=head["node"], message_type=head["type"], group_id=head["group"]
    )
    identify_message(message, head["identifier"])
    context = Context(head["run"], head["node"], head["config"], _records_from_bytes(state), {})
    return head["identifier"], message, context


def pack_result(identifier: str, reply: Message, context: Context) -> bytes:
    """Write a reply and the client's state after it."""
    error = None if reply.has_content() else [reply.error.code, reply.error.reason]
    content = _records_to_bytes(reply.content) if reply.has_content() else b""
    head = json.dumps({"identifier": identifier, "error": error}).encode()
    return _pack(head, content, _records_to_bytes(context.state))


def unpack_result(frame: bytes, request: Message) -> tuple[Message, RecordDict]:
    """Read what `pack_result` wrote, as a reply to the request, and the client's state after it."""
    head_bytes, content, state = _unpack(frame)
    error = json.loads(head_bytes)["error"]
    if error is not None:
        return Message(Error(*error), reply_to=request), _records_from_bytes(state)
    return Message(_records_from_bytes(content), reply_to=request), _records_from_bytes(state)
