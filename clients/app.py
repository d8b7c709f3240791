"""The Flower ClientApp: a message in, local training on the client's own partition, a reply out."""

from __future__ import annotations

import json
import logging
from functools import lru_cache

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmetric.clients.memory import read_memory, write_memory
from fedmetric.config import Experiment
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from fedmetric.wire import ClientFailure, failure_reply, pack_update, unpack_request

app = ClientApp()
log = logging.getLogger("fedmetric.client")

LAST_ROUND = "last-round"


@lru_cache(maxsize=1)
def _site(experiment: str) -> Site:
    """Build network, views and partitions once for each experiment that this process serves."""
    return Site(Experiment.model_validate_json(experiment))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on one partition for one round; whatever goes wrong is an error reply with client, round and stage."""
    stage, client, round = "request", -1, -1
    try:
        request = unpack_request(message.content)
        client, round = request.client, request.round
        stage = "data"
        site = _site(json.dumps(request.experiment.resolved(), sort_keys=True))
        images = site.images_of(client)
        stage = "training"
        memory = read_memory(context.state)
        update = local_update(site.trainer, images, request.shared, request.extra, memory, round, client)
        stage = "reply"
        write_memory(context.state, memory | {LAST_ROUND: np.array(round, dtype=np.int64)})
        return Message(pack_update(update, round), reply_to=message)
    except Exception as error:
        log.exception("client %d, round %d, %s", client, round, stage)
        return failure_reply(ClientFailure(client, round, stage, f"{type(error).__name__}: {error}"), message)
