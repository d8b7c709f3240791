"""The Flower ClientApp: a message in, local work on the client's own partition, a reply out."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmetric.clients import secure
from fedmetric.clients.limits import LimitError, Limits
from fedmetric.clients.memory import Store, store_for
from fedmetric.clients.premises import Premises, note_what_leaves, premises_of
from fedmetric.clients.spending import spend
from fedmetric.data.base import ImageSet
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import Update
from fedmetric.training.apart import OwnFolder
from fedmetric.training.calibrate import calibrate
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site
from fedmetric.wire import (
    Answer,
    ClientFailure,
    Request,
    failure_reply,
    pack_answer,
    pack_update,
    unpack_request,
)

app = ClientApp()
log = logging.getLogger("fedmetric.client")

Work = Callable[[Site, ImageSet, Request, Store, Premises], Update | Answer]


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train on one partition for one round."""
    return _answer(message, context, _train, "training")


@app.evaluate()
def measure(message: Message, context: Context) -> Message:
    """Measure the norm layers' statistics of given weights on one partition."""
    return _answer(message, context, _calibrate, "calibration")


@app.query("advertise")
def answer_advertise(message: Message, context: Context) -> Message:
    """Advertise keys for a secure aggregation."""
    return _answer(message, context, secure.advertise, "advertising")


@app.query("share")
def answer_share(message: Message, context: Context) -> Message:
    """Share the secrets that unmask the sum."""
    return _answer(message, context, secure.share, "sharing")


@app.query("unmask")
def answer_unmask(message: Message, context: Context) -> Message:
    """Give the shares that unmask the sum."""
    return _answer(message, context, secure.unmask, "unmasking")


def _train(site: Site, images: ImageSet, request: Request, store: Store, premises: Premises) -> Update:
    state = store.read(request.round).fresh(request.round, request.experiment.federation.max_staleness)
    trainer = site.trainer_of(request.client)
    if premises.memory is not None and premises.limits is not None:
        spend(premises.memory, premises.limits, site, request.round, len(images))
    update = local_update(trainer, images, request.shared, request.extra, state, request.round)
    if request.experiment.federation.secure.on:
        update = secure.masked(trainer, request, store, update)
    store.write(state)
    return update


def _calibrate(site: Site, images: ImageSet, request: Request, store: Store, premises: Premises) -> Update:
    if premises.limits is not None and premises.limits.epsilon:
        raise LimitError("statistics are asked for, which no noise covers, and this site has an epsilon to spend")
    state = store.read(request.round + 1)  # after the training of this round
    return calibrate(site.trainer_of(request.client), images, request.shared, state)


def _answer(message: Message, context: Context, work: Work, stage: str) -> Message:
    """Do the work; whatever goes wrong is an error reply with client, round and stage."""
    reached, client, round = "request", -1, -1
    premises = Premises(limits=Limits())  # until they are known, they are taken for somebody's own
    try:
        premises = premises_of(context.node_config)
        request = unpack_request(message.content, premises.external)
        client, round = request.client, request.round
        reached = "data"
        site = premises.site(request)
        images = site.images_of(client)
        if isinstance(site, OwnFolder):
            site.check_client(client, len(images))
        reached = stage
        store = store_for(context, premises.memory, request.experiment.fingerprint(), client)
        done = work(site, images, request, store, premises)
        reached = "reply"
        if premises.limits is not None and isinstance(done, Update):
            done = premises.limits.outgoing(done, site.trainer_of(client))
        if premises.manifest is not None:
            note_what_leaves(premises.manifest, round, done)
        if isinstance(done, Answer):
            return Message(pack_answer(done, round), reply_to=message)
        log.info("round %d: trained on %d images, loss %s", round, len(images), done.metrics.get("loss"))
        return Message(pack_update(done, round), reply_to=message)
    except Exception as error:
        told = tell(error, premises, reached)
        log.exception("client %d, round %d, %s: %s", client, round, reached, told)
        return failure_reply(ClientFailure(client, round, reached, told), message)


def tell(error: Exception, premises: Premises, reached: str) -> str:
    """Return what the server is told of an error.

    Of a place with images of its own, that is the kind and a mark by which the site's log can be searched: messages
    may hold names of classes and files, or shapes that tell how many classes there are. That a request was refused
    unread, or asks for more than the limits, is told in full.
    """
    said = isinstance(error, LimitError) or (isinstance(error, ProtocolError) and reached == "request")
    if premises.limits is None or said:
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__}; the site's log says more under {secrets.token_hex(4)}"
