"""A client's part in secure aggregation: its state between messages, and its move masked in place of weights.

See `fedmetric.privacy.secure.client` for the protocol and what it protects from: a server that follows it. Other
clients' signatures are checked against the public keys that the server passes on, so they prove no more than that the
server's register has those keys.

A deployed site signs with the key that it enrolled with. A client of a simulation makes a key when it first needs one;
the server takes the first key that it sees for that client's: the code is that of a deployment, and proves nothing
where all clients are one person's.
"""

from __future__ import annotations

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.clients.memory import Store
from fedmetric.clients.premises import Premises
from fedmetric.data.base import ImageSet
from fedmetric.deployment.certificates import is_signed, new_node_key, public_key_of, sign
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import Update
from fedmetric.federation.robust import trained
from fedmetric.privacy.secure.client import ClientRound
from fedmetric.privacy.secure.masking import Masking, length_of
from fedmetric.privacy.secure.tables import (
    MASKED,
    pack_advertised,
    pack_unmasking,
    read_advertised,
    read_roll,
    read_terms,
    table_of,
)
from fedmetric.training.local_update import Trainer
from fedmetric.training.site import Site
from fedmetric.wire import Answer, Request

AGGREGATION, IDENTITY = "aggregation", "identity"


def advertise(site: Site, images: ImageSet, request: Request, store: Store, premises: Premises) -> Answer:
    """Begin an aggregation: compare its terms with the experiment, draw keys and sign them.

    Raises:
        ProtocolError: the terms are others than the experiment's, or those of the aggregation that was begun last.
    """
    if not request.experiment.federation.secure.on:
        raise ProtocolError("keys are asked for, and the experiment has no secure aggregation")
    trainer, terms = site.trainer_of(request.client), read_terms(request.secure)
    masking_of(trainer).check(terms, request.round, site.num_clients, _length(trainer))
    kept = store.read_kept(AGGREGATION)
    if (
        kept
        and (last := ClientRound.from_arrays(kept).state.terms)
        and (last.run, last.round) == (terms.run, terms.round)
    ):
        raise ProtocolError(f"the aggregation '{terms.run}' of round {terms.round} was begun here before")
    key = private_key(store, premises)
    begun = ClientRound(terms, request.client)
    signed = begun.advertise(lambda message: sign(key, message))
    store.write_kept(AGGREGATION, begun.to_arrays())
    return Answer(request.client, pack_advertised([signed], {request.client: public_key_of(key)}))


def share(site: Site, images: ImageSet, request: Request, store: Store, premises: Premises) -> Answer:
    """Seal a share of each secret for every other client.

    Raises:
        ProtocolError: see `ClientRound.share`.
    """
    begun = _begun(request, store)
    advertised, identities = read_advertised(request.secure)
    sealed = begun.share(
        advertised, lambda client, message, signature: is_signed(identities.get(client, b""), message, signature)
    )
    store.write_kept(AGGREGATION, begun.to_arrays())
    return Answer(request.client, {"sealed": sealed})


def masked(trainer: Trainer, request: Request, store: Store, update: Update) -> Update:
    """Return the masked move of an update, without counts and metrics.

    Raises:
        ProtocolError: see `ClientRound.mask`.
    """
    begun = _begun(request, store)
    names = _names(trainer, request.shared)
    vector = masking_of(trainer).vector(begun.state.terms, request.client, request.shared, update.arrays, names)
    hidden = begun.mask(vector, table_of(request.secure, "sealed"))
    store.write_kept(AGGREGATION, begun.to_arrays())
    return Update(request.client, {MASKED: hidden}, 1)


def unmask(site: Site, images: ImageSet, request: Request, store: Store, premises: Premises) -> Answer:
    """Give the shares of the survivors' seeds and of the others' keys.

    Raises:
        ProtocolError: see `ClientRound.unmask`.
    """
    begun, roll = _begun(request, store), read_roll(request.secure)
    given = begun.unmask(roll.survivors, roll.dropped)
    store.write_kept(AGGREGATION, begun.to_arrays())
    return Answer(request.client, pack_unmasking(given))


def masking_of(trainer: Trainer) -> Masking:
    """Return what a trainer's experiment says of secure aggregation."""
    return Masking(trainer.experiment, trainer.mechanism)


def would_be_masked(trainer: Trainer) -> Update:
    """Return an update of the size that leaves under secure aggregation, all of zeros."""
    return Update(0, {MASKED: np.zeros(_length(trainer), np.uint32)}, 1)


def private_key(store: Store, premises: Premises) -> bytes:
    """Return the site's registered private key, or one that is made at first use and kept."""
    if premises.key is not None:
        return premises.key.read_bytes()
    if kept := store.read_kept(IDENTITY):
        return kept["key"].tobytes()
    made = new_node_key()
    store.write_kept(IDENTITY, {"key": np.frombuffer(made, np.uint8)})
    return made


def _begun(request: Request, store: Store) -> ClientRound:
    """Return the aggregation that a request belongs to."""
    kept = store.read_kept(AGGREGATION)
    begun = ClientRound.from_arrays(kept) if kept else None
    if begun is None or begun.state.terms != read_terms(request.secure) or begun.state.client != request.client:
        raise ProtocolError(f"client {request.client} has not begun the secure aggregation of round {request.round}")
    return begun


def _names(trainer: Trainer, arrays: Arrays) -> list[str]:
    return trained(trainer.embedder.layout, arrays)


def _length(trainer: Trainer) -> int:
    arrays = trainer.embedder.arrays(trainer.routes.down)
    return length_of(arrays, _names(trainer, arrays))
