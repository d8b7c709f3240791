"""A folder of images whose path, classes and files hold a word, and the search for it in what a client sends."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_to_proto
from PIL import Image

from fedmetric.clients.app import app
from fedmetric.config import Experiment
from fedmetric.data.base import class_hash
from fedmetric.federation.shared_proxies import class_token
from fedmetric.simulations.engines.grid import identify_process
from fedmetric.training.site import Site
from fedmetric.wire import ClientFailure, Request, Setting, read_failure, request_message
from tiny import tiny

WORD = "zanzibar"


def write_images(folder: Path, classes: int = 3, each: int = 8) -> Path:
    pixels = np.random.default_rng(1)
    for number in range(classes):
        for image in range(each):
            place = folder / f"{WORD}-{number}" / f"{WORD}-{image}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.integers(0, 255, (16, 16), dtype=np.uint8)).save(place)
    return folder


def asking(experiment: Experiment | None = None, *evaluated: str) -> Request:
    identify_process()
    trainer = Site(experiment or tiny()).trainer
    shared = trainer.embedder.arrays(trainer.routes.down)
    return Request(trainer.experiment, 1, 0, shared, {}, setting=Setting(3, 1, tuple(map(class_hash, evaluated))))


def context_of(config: dict[str, Any]) -> Context:
    """Return what Flower hands to the ClientApp of a node with this configuration."""
    return Context(run_id=1, node_id=2, node_config=config, state=RecordDict(), run_config={})


def answer(request: Request, config: dict[str, Any]) -> Message:
    """Let the ClientApp of a node answer; whatever it answers must not tell the word, nor what stands for it."""
    reply = app(request_message(request, 2), context_of(config))
    sent = whole(reply)
    names = [WORD, *(f"{WORD}-{number}" for number in range(5))]
    assert WORD.encode() not in sent.lower()
    for name in names:
        stands = [class_hash(name).encode(), hashlib.sha256(name.encode()).digest(), base64.b64encode(name.encode())]
        assert not [text for text in (*stands, np.int64(class_token(name)).tobytes()) if text in sent]
    return reply


def whole(reply: Message) -> bytes:
    """Return a reply as Flower writes it, contents included."""
    arrays = reply.content.array_records.values() if reply.has_content() else ()
    raw = b"".join(array.data for record in arrays for array in record.values())
    return bytes(message_to_proto(reply).SerializeToString()) + raw


def failure(reply: Message) -> ClientFailure:
    assert reply.has_error()
    return read_failure(reply.error, 1, 0)
