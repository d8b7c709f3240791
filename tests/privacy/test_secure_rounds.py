"""Whole secure aggregations: the sum, clients lost at each stage, and what the server refuses.

Every client's state goes through an archive without pickle between any two messages, as if its process had ended.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedmetric.errors import FedmetricError, ProtocolError
from fedmetric.privacy.secure.client import ClientRound
from fedmetric.privacy.secure.fixed_point import decode, encode, quantisation_bound
from fedmetric.privacy.secure.messages import Unmasking
from fedmetric.privacy.secure.server import BelowThresholdError, Roll, ServerRound
from fedmetric.privacy.secure.state import Stage
from fedmetric.privacy.secure.terms import Terms, default_threshold

IDENTITIES: dict[int, Ed25519PrivateKey] = {}
RNG = np.random.default_rng(11)
Vectors = Mapping[int, NDArray[np.floating]]
Lost = Mapping[Stage, Collection[int]]


def identity(client: int) -> Ed25519PrivateKey:
    return IDENTITIES.setdefault(client, Ed25519PrivateKey.generate())


def verify(client: int, message: bytes, signature: bytes) -> bool:
    try:
        identity(client).public_key().verify(signature, message)
        return True
    except InvalidSignature:
        return False


class Round:
    """An aggregation in which chosen clients stop answering at chosen stages; others answer in a random order."""

    def __init__(self, terms: Terms, vectors: Vectors, lost: Lost | None = None) -> None:
        self.vectors, self.lost = vectors, lost or {}
        self.server = ServerRound(terms, vectors, verify)
        self.kept = {client: kept(ClientRound(terms, client)) for client in vectors}

    def answering(self, stage: Stage) -> list[int]:
        gone = {client for lost, clients in self.lost.items() if lost <= stage for client in clients}
        left = sorted(set(self.server.clients) - gone)
        return [left[place] for place in RNG.permutation(len(left))]

    def advertise(self) -> None:
        for client in self.answering(Stage.ADVERTISE):
            state = restarted(self.kept[client])
            self.server.receive_advertisement(state.advertise(identity(client).sign))
            self.kept[client] = kept(state)
        self.advertised = self.server.close_advertise()

    def share(self) -> None:
        for client in self.answering(Stage.SHARE):
            state = restarted(self.kept[client])
            self.server.receive_shares(client, state.share(self.advertised, verify))
            self.kept[client] = kept(state)
        self.sealed = self.server.close_share()

    def mask(self) -> Roll:
        for client in self.answering(Stage.MASK):
            state = restarted(self.kept[client])
            self.server.receive_masked(client, state.mask(self.vectors[client], self.sealed[client]))
            self.kept[client] = kept(state)
        self.roll = self.server.close_mask()
        return self.roll

    def answers(self) -> dict[int, Unmasking]:
        found = {}
        for client in self.answering(Stage.UNMASK):
            state = restarted(self.kept[client])
            found[client] = state.unmask(self.roll.survivors, self.roll.dropped)
            self.kept[client] = kept(state)
        return found

    def unmask(self) -> NDArray[np.float64]:
        for client, answer in self.answers().items():
            self.server.receive_unmasking(client, answer)
        return self.server.close_unmask()

    def total(self) -> NDArray[np.float64]:
        self.advertise()
        self.share()
        self.mask()
        return self.unmask()


def kept(client: ClientRound) -> bytes:
    file = io.BytesIO()
    np.savez(file, **client.to_arrays())  # type: ignore[arg-type]
    return file.getvalue()


def restarted(archive: bytes) -> ClientRound:
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        return ClientRound.from_arrays(dict(arrays))


def drawn(clients: Collection[int], length: int, clip: float = 1.0) -> dict[int, NDArray[np.floating]]:
    """Draw vectors of all norms up to the clip norm; the first is zero, the second at it, the third in one place."""
    vectors: dict[int, NDArray[np.floating]] = {}
    for place, client in enumerate(clients):
        vector = RNG.normal(size=length)
        vector *= clip * RNG.uniform() / np.linalg.norm(vector)
        if place == 0:
            vector = np.zeros(length)
        if place == 1:
            vector *= clip / np.linalg.norm(vector)
        if place == 2:
            vector = np.eye(1, length)[0] * -clip
        vectors[client] = vector
    return vectors


def terms_of(num_clients: int, length: int = 6, clip: float = 1.0) -> Terms:
    return Terms("mine", 4, num_clients, default_threshold(num_clients), length, clip)


def fixed_point_sum(terms: Terms, vectors: list[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the sum that masks must leave untouched, to the last level."""
    added = np.zeros(terms.length, dtype=np.uint32)
    for vector in vectors:
        added += encode(vector, terms.clip, terms.num_clients)
    return decode(added, terms.clip, terms.num_clients)


@pytest.mark.parametrize("clip", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("num_clients", [3, 4, 5, 7, 12, 20])
def test_the_sum_is_the_plain_sum_up_to_the_stated_bound(num_clients: int, clip: float) -> None:
    terms = terms_of(num_clients, 50, clip)
    vectors = drawn(range(num_clients), 50, clip)
    found = Round(terms, vectors).total()
    assert np.abs(found - sum(vectors.values())).max() <= quantisation_bound(clip, num_clients)
    assert found.tolist() == fixed_point_sum(terms, list(vectors.values())).tolist()


def test_float32_and_the_largest_client_numbers_are_summed_too() -> None:
    clients = (0, 5, 2**63, 2**64 - 1)
    vectors = {client: vector.astype(np.float32) for client, vector in drawn(clients, 40).items()}
    found = Round(terms_of(4, 40), vectors).total()
    plain = sum(vector.astype(np.float64) for vector in vectors.values())
    assert np.abs(found - plain).max() <= quantisation_bound(1.0, 4)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("num_clients", [3, 10])
def test_all_clients_at_the_clip_norm_in_one_coordinate_do_not_overflow(num_clients: int, sign: float) -> None:
    extreme = np.array([0.0, sign * 2.5, 0.0])
    found = Round(terms_of(num_clients, 3, 2.5), {client: extreme for client in range(num_clients)}).total()
    assert found == pytest.approx(num_clients * extreme, abs=quantisation_bound(2.5, num_clients))


@pytest.mark.parametrize(
    "lost",
    [
        {Stage.ADVERTISE: [3]},
        {Stage.SHARE: [0]},
        {Stage.MASK: [9]},
        {Stage.MASK: [0, 5, 9]},
        {Stage.UNMASK: [1, 4]},
        {Stage.ADVERTISE: [2], Stage.SHARE: [7], Stage.MASK: [4]},
        {Stage.SHARE: [1], Stage.MASK: [8], Stage.UNMASK: [0]},
    ],
)
def test_clients_lost_at_each_stage_leave_the_exact_sum_of_the_survivors(lost: Lost) -> None:
    """10 clients, threshold 7; a client lost after it sent its vector is in the sum."""
    terms, vectors = terms_of(10, 30), drawn(range(10), 30)
    played = Round(terms, vectors, lost)
    found = played.total()
    gone = {client for stage, clients in lost.items() if stage < Stage.UNMASK for client in clients}
    assert played.server.survivors == set(range(10)) - gone
    assert found.tolist() == fixed_point_sum(terms, [vectors[name] for name in vectors if name not in gone]).tolist()


@pytest.mark.parametrize(
    ("lost", "stage", "answered"),
    [
        ({Stage.ADVERTISE: [1, 3]}, Stage.ADVERTISE, 3),
        ({Stage.SHARE: [1, 3]}, Stage.SHARE, 3),
        ({Stage.ADVERTISE: [0], Stage.SHARE: [1]}, Stage.SHARE, 3),
        ({Stage.MASK: [1, 3, 4]}, Stage.MASK, 2),
        ({Stage.UNMASK: [1, 3]}, Stage.UNMASK, 3),
        ({Stage.MASK: [0], Stage.UNMASK: [4]}, Stage.UNMASK, 3),
    ],
)
def test_below_the_threshold_at_each_stage_no_sum_is_made(lost: Lost, stage: Stage, answered: int) -> None:
    """5 clients, threshold 4."""
    played = Round(terms_of(5), drawn(range(5), 6), lost)
    words = f"round 4: {answered} of 5 clients answered at the stage '{stage.name.lower()}', and 4 are needed; no sum"
    with pytest.raises(BelowThresholdError, match=words) as refused:
        played.total()
    assert isinstance(refused.value, FedmetricError)
    assert (refused.value.stage, refused.value.num_clients, refused.value.threshold) == (stage, answered, 4)
    for closing in (played.server.close_mask, played.server.close_unmask):
        with pytest.raises(ProtocolError, match="cannot be closed, where the stage is 'done'"):
            closing()


def test_a_cohort_of_exactly_the_threshold_is_enough() -> None:
    played = Round(terms_of(5), drawn(range(5), 6), {Stage.ADVERTISE: [2]})
    played.total()
    assert played.server.clients == {0, 1, 3, 4}


def test_the_sum_that_is_left_masked_is_not_the_sum() -> None:
    """With every stage but the last, what the server holds of a sum of zeros is noise."""
    terms = terms_of(4, 1000)
    played = Round(terms, {client: np.zeros(1000) for client in range(4)})
    for stage in (played.advertise, played.share, played.mask):
        stage()
    assert (played.server._masked == 0).sum() < 3


# --- what the server refuses


def begun() -> Round:
    return Round(terms_of(4), drawn(range(4), 6))


def test_a_cohort_of_another_size_is_refused() -> None:
    with pytest.raises(ProtocolError, match="a cohort of 3 clients; the terms say 4"):
        ServerRound(terms_of(4), range(3), verify)


def test_the_server_refuses_forged_replayed_and_foreign_keys_and_goes_on_without_them() -> None:
    played = begun()
    old = ClientRound(replace(terms_of(4), round=3), 1).advertise(identity(1).sign)
    with pytest.raises(ProtocolError, match="keys of client 1 are not signed .* for round 4"):
        played.server.receive_advertisement(old)
    foreign = ClientRound(terms_of(4), 9).advertise(identity(9).sign)
    with pytest.raises(ProtocolError, match="client 9 is not among those in round 4"):
        played.server.receive_advertisement(foreign)
    played.lost = {Stage.ADVERTISE: [1]}
    played.total()
    assert played.server.survivors == {0, 2, 3}


def test_a_second_message_of_one_stage_is_refused_and_the_first_counts() -> None:
    played = begun()
    for client in range(4):
        state = restarted(played.kept[client])
        sent = state.advertise(identity(client).sign)
        played.server.receive_advertisement(sent)
        played.kept[client] = kept(state)
        with pytest.raises(ProtocolError, match=f"client {client} answered the stage 'advertise' twice"):
            played.server.receive_advertisement(sent)
    played.advertised = played.server.close_advertise()
    played.share()
    zero = np.zeros(6, dtype=np.uint32)
    for client in range(4):
        state = restarted(played.kept[client])
        played.server.receive_masked(client, state.mask(played.vectors[client], played.sealed[client]))
        played.kept[client] = kept(state)
        with pytest.raises(ProtocolError, match=f"client {client} answered the stage 'mask' twice"):
            played.server.receive_masked(client, zero)
    played.roll = played.server.close_mask()
    wanted = fixed_point_sum(terms_of(4), list(played.vectors.values()))
    assert played.unmask().tolist() == wanted.tolist()


def test_a_message_that_comes_late_or_early_is_refused() -> None:
    played = begun()
    with pytest.raises(ProtocolError, match="client 0 answered the stage 'mask' of round 4, where the stage is 'adv"):
        played.server.receive_masked(0, np.zeros(6, dtype=np.uint32))
    played.advertise()
    with pytest.raises(ProtocolError, match="client 0 answered the stage 'advertise' of round 4, where the stage is"):
        played.server.receive_advertisement(played.advertised[0])
    with pytest.raises(ProtocolError, match="the stage 'mask' of round 4 cannot be closed, where the stage is 'share'"):
        played.server.close_mask()


def test_a_copied_key_is_refused() -> None:
    played, state = begun(), ClientRound(terms_of(4), 0)
    sent = state.advertise(identity(0).sign)
    played.server.receive_advertisement(sent)
    drawn_keys = iter([state.state.share_private, state.state.mask_private])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedmetric.privacy.secure.client.new_private_key", lambda: next(drawn_keys))
        copied = ClientRound(terms_of(4), 1).advertise(identity(1).sign)
    with pytest.raises(ProtocolError, match="client 1 advertised a key twice, or one of another client"):
        played.server.receive_advertisement(copied)


@pytest.mark.parametrize("sealed", [{}, {1: b"a" * 94}, {1: b"a" * 94, 2: b"a" * 94, 3: b"a" * 93}])
def test_shares_that_are_missing_or_of_another_length_are_refused(sealed: dict[int, bytes]) -> None:
    played = begun()
    played.advertise()
    with pytest.raises(ProtocolError, match=r"client 0 did not seal 94 bytes for each of the clients \[1, 2, 3\]"):
        played.server.receive_shares(0, sealed)


@pytest.mark.parametrize("masked", [np.zeros(5, dtype=np.uint32), np.zeros(6), np.zeros((1, 6), dtype=np.uint32)])
def test_a_masked_vector_of_another_shape_or_type_is_refused(masked: NDArray[np.uint32]) -> None:
    played = begun()
    played.advertise()
    played.share()
    with pytest.raises(ProtocolError, match=r"client 0 sent \w+ of shape \(.*\); it must be uint32 of \(6,\)"):
        played.server.receive_masked(0, masked)


def test_shares_of_something_else_than_was_asked_for_are_refused() -> None:
    played = Round(terms_of(4), drawn(range(4), 6), {Stage.MASK: [3]})
    played.advertise()
    played.share()
    assert played.mask() == Roll((0, 1, 2), (3,))
    answers = played.answers()
    some = {0: answers[0].self_seeds[0]}
    for wrong in (Unmasking(some, answers[0].mask_keys), Unmasking(answers[0].self_seeds, {})):
        with pytest.raises(ProtocolError, match=r"asked for were \[0, 1, 2\] and \[3\]"):
            played.server.receive_unmasking(0, wrong)
    with pytest.raises(ProtocolError, match="client 3 is not among those in round 4"):
        played.server.receive_unmasking(3, answers[0])
    with pytest.raises(ProtocolError, match="a share of 5 bytes is no number"):
        played.server.receive_unmasking(0, Unmasking(answers[0].self_seeds, {3: b"short"}))


def test_a_wrong_share_of_a_dropped_clients_key_is_noticed() -> None:
    played = Round(terms_of(4), drawn(range(4), 6), {Stage.MASK: [3]})
    played.advertise()
    played.share()
    played.mask()
    for client, answer in played.answers().items():
        share = bytes(33) if client == 1 else answer.mask_keys[3]
        played.server.receive_unmasking(client, Unmasking(answer.self_seeds, {3: share}))
    with pytest.raises(ProtocolError, match="client 3's mask key do not give the key|no secret of 32 bytes"):
        played.server.close_unmask()
