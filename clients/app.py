"""The Flower ClientApp: a message in, local work on the client's own partition, a reply out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import lru_cache

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmetric.clients.memory import Store, store_for
from fedmetric.config import Experiment
from fedmetric.data.base import ImageSet
from fedmetric.federation.base import Update
from fedmetric.training.calibrate import calibrate
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from fedmetric.wire import ClientFailure, Request, failure_reply, pack_update, unpack_request

app = ClientApp()
log = logging.getLogger("fedmetric.client")

Work = Callable[[Site, ImageSet, Request, Store], Update]


@lru_cache(maxsize=1)
def _site(experiment: str) -> Site:
    """Build network, views and partitions once for each experiment that this process serves."""
    return Site(Experiment.model_validate_json(experiment))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on one partition for one round."""
    return _answer(message, context, _train, "training")


@app.evaluate()
def measure(message: Message, context: Context) -> Message:
    """Measure the norm layers' statistics of given weights on one partition."""
    return _answer(message, context, _calibrate, "calibration")


def _train(site: Site, images: ImageSet, request: Request, store: Store) -> Update:
    state = store.read(request.round).fresh(request.round, request.experiment.federation.max_staleness)
    update = local_update(site.trainer_of(request.client), images, request.shared, request.extra, state, request.round)
    store.write(state)
    return update


def _calibrate(site: Site, images: ImageSet, request: Request, store: Store) -> Update:
    state = store.read(request.round + 1)  # after the training of this round
    return calibrate(site.trainer_of(request.client), images, request.shared, state)


def _answer(message: Message, context: Context, work: Work, stage: str) -> Message:
    """Do the work; whatever goes wrong is an error reply with client, round and stage."""
    reached, client, round = "request", -1, -1
    try:
        request = unpack_request(message.content)
        client, round = request.client, request.round
        reached = "data"
        site = _site(json.dumps(request.experiment.resolved(), sort_keys=True))
        images = site.images_of(client)
        reached = stage
        update = work(site, images, request, store_for(context, request.experiment.fingerprint(), client))
        reached = "reply"
        return Message(pack_update(update, round), reply_to=message)
    except Exception as error:
        log.exception("client %d, round %d, %s", client, round, reached)
        return failure_reply(ClientFailure(client, round, reached, f"{type(error).__name__}: {error}"), message)
