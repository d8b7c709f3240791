"""What a client of secure aggregation refuses, and what it keeps; a cohort of four with threshold 3, without server."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmetric.deployment.certificates import is_signed, new_node_key, public_key_of, sign
from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.client import ClientRound
from fedmetric.privacy.secure.messages import Advertisement
from fedmetric.privacy.secure.sealing import Shares, seal
from fedmetric.privacy.secure.shamir import PRIME, combine, combine_numbers
from fedmetric.privacy.secure.state import Stage
from fedmetric.privacy.secure.terms import Terms

TERMS = Terms("mine", 4, 4, 3, 5, 1.0)
NAMES = (2, 7, 11, 2**64 - 1)
IDENTITIES = {client: Ed25519PrivateKey.generate() for client in NAMES}
VECTOR = np.array([0.1, 0.0, -0.2, 0.3, 0.0])


def verify(client: int, message: bytes, signature: bytes) -> bool:
    try:
        IDENTITIES[client].public_key().verify(signature, message)
        return True
    except (InvalidSignature, KeyError):
        return False


class Cohort:
    """Four clients that have reached a stage, each message delivered."""

    def __init__(self, stage: Stage, terms: Terms = TERMS) -> None:
        self.clients = {client: ClientRound(terms, client) for client in NAMES}
        if stage >= Stage.SHARE:
            self.advertised = [client.advertise(IDENTITIES[name].sign) for name, client in self.clients.items()]
        if stage >= Stage.MASK:
            sent = {name: client.share(self.advertised, verify) for name, client in self.clients.items()}
            self.sealed = {to: {name: sent[name][to] for name in NAMES if name != to} for to in NAMES}
        if stage >= Stage.UNMASK:
            self.masked = {name: client.mask(VECTOR, self.sealed[name]) for name, client in self.clients.items()}


def changed(change: Callable[[Advertisement], Advertisement], cohort: Cohort) -> list[Advertisement]:
    """Return what client 2 is sent when client 7's advertisement is changed on the way."""
    return [change(one) if one.client == 7 else one for one in cohort.advertised]


# --- share


def test_a_forged_signature_is_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    sent = changed(lambda one: replace(one, signature=bytes(64)), cohort)
    with pytest.raises(ProtocolError, match="keys of client 7 are not signed by its registered identity for round 4"):
        cohort.clients[2].share(sent, verify)


def test_the_signature_of_another_clients_identity_is_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    forged = ClientRound(TERMS, 7).advertise(IDENTITIES[11].sign)
    with pytest.raises(ProtocolError, match="keys of client 7 are not signed"):
        cohort.clients[2].share(changed(lambda _: forged, cohort), verify)


@pytest.mark.parametrize("name", ["share_key", "mask_key"])
def test_a_swapped_key_is_refused(name: str) -> None:
    cohort = Cohort(Stage.SHARE)
    other = getattr(ClientRound(TERMS, 7).advertise(IDENTITIES[7].sign), name)
    with pytest.raises(ProtocolError, match="keys of client 7 are not signed"):
        cohort.clients[2].share(changed(lambda one: replace(one, **{name: other}), cohort), verify)


def test_the_two_keys_of_one_client_exchanged_are_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    sent = changed(lambda one: replace(one, share_key=one.mask_key, mask_key=one.share_key), cohort)
    with pytest.raises(ProtocolError, match="keys of client 7 are not signed"):
        cohort.clients[2].share(sent, verify)


@pytest.mark.parametrize("terms", [replace(TERMS, round=3), replace(TERMS, run="yours"), replace(TERMS, threshold=4)])
def test_an_advertisement_replayed_from_another_round_run_or_terms_is_refused(terms: Terms) -> None:
    cohort, old = Cohort(Stage.SHARE), ClientRound(terms, 7).advertise(IDENTITIES[7].sign)
    with pytest.raises(ProtocolError, match="of other terms, or of another round"):
        cohort.clients[2].share(changed(lambda _: old, cohort), verify)


def test_the_keys_of_one_client_under_another_clients_number_are_refused_even_if_both_have_one_identity() -> None:
    cohort, one_for_all = Cohort(Stage.SHARE), Ed25519PrivateKey.generate()
    renamed = replace(ClientRound(TERMS, 11).advertise(one_for_all.sign), client=7)

    def verify_seven_with_it(client: int, message: bytes, signature: bytes) -> bool:
        if client != 7:
            return verify(client, message, signature)
        try:
            one_for_all.public_key().verify(signature, message)
            return True
        except InvalidSignature:
            return False

    right = ClientRound(TERMS, 7).advertise(one_for_all.sign)
    assert cohort.clients[11].share(changed(lambda _: right, cohort), verify_seven_with_it)
    with pytest.raises(ProtocolError, match="keys of client 7 are not signed"):
        cohort.clients[2].share(changed(lambda _: renamed, cohort), verify_seven_with_it)


def test_a_client_that_is_not_registered_is_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    stranger = ClientRound(TERMS, 5).advertise(Ed25519PrivateKey.generate().sign)
    with pytest.raises(ProtocolError, match="keys of client 5 are not signed"):
        cohort.clients[2].share(changed(lambda _: stranger, cohort), verify)


def test_a_key_of_another_length_is_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    with pytest.raises(ProtocolError, match=r"client 7 advertised keys of \[31, 32\] bytes"):
        cohort.clients[2].share(changed(lambda one: replace(one, share_key=one.share_key[1:]), cohort), verify)


def test_its_own_key_changed_is_refused_even_if_its_identity_signed_it() -> None:
    """As when the same client was begun twice, or its own message of an earlier try comes back."""
    cohort = Cohort(Stage.SHARE)
    other = ClientRound(TERMS, 7).advertise(IDENTITIES[7].sign)
    with pytest.raises(ProtocolError, match="keys of client 7 itself were changed"):
        cohort.clients[7].share(changed(lambda _: other, cohort), verify)


def test_a_list_without_itself_is_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    with pytest.raises(ProtocolError, match="client 2 is not among the clients whose keys it is sent"):
        cohort.clients[2].share([one for one in cohort.advertised if one.client != 2], verify)


def test_a_client_that_is_named_twice_is_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    with pytest.raises(ProtocolError, match=r"named twice: \[7\]"):
        cohort.clients[2].share([*cohort.advertised[:3], cohort.advertised[1]], verify)


def test_two_clients_with_the_same_key_are_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    drawn = iter([cohort.clients[7].state.share_private, cohort.clients[7].state.mask_private])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedmetric.privacy.secure.client.new_private_key", lambda: next(drawn))
        twin = ClientRound(TERMS, 11).advertise(IDENTITIES[11].sign)
    sent = [twin if one.client == 11 else one for one in cohort.advertised]
    with pytest.raises(ProtocolError, match="two of the advertised keys are the same"):
        cohort.clients[2].share(sent, verify)


def test_fewer_than_the_threshold_or_more_than_the_cohort_are_refused() -> None:
    cohort = Cohort(Stage.SHARE)
    with pytest.raises(ProtocolError, match="2 clients advertised keys; the terms allow 3 to 4"):
        cohort.clients[2].share(cohort.advertised[:2], verify)
    more = [*cohort.advertised, replace(cohort.advertised[0], client=3)]
    with pytest.raises(ProtocolError, match="5 clients advertised keys; the terms allow 3 to 4"):
        cohort.clients[2].share(more, verify)


def test_a_refused_list_leaves_the_state_so_that_the_right_one_is_taken() -> None:
    cohort = Cohort(Stage.SHARE)
    with pytest.raises(ProtocolError):
        cohort.clients[2].share(cohort.advertised[:2], verify)
    assert set(cohort.clients[2].share(cohort.advertised, verify)) == {7, 11, 2**64 - 1}


def test_the_threshold_of_holders_recovers_either_secret_and_one_fewer_neither() -> None:
    """Of client 7's key three others hold shares; of its seed all four, itself included."""
    cohort = Cohort(Stage.MASK)
    key, seed = cohort.clients[7].state.mask_private, cohort.clients[7].state.self_seed
    for name, client in cohort.clients.items():
        client.mask(VECTOR, cohort.sealed[name])
    held = {name: client.state for name, client in cohort.clients.items()}
    keys = {name: held[name].key_shares[7] for name in (2, 11, NAMES[3])}
    seeds = {name: held[name].seed_shares[7] for name in NAMES}
    for shares, secret in ((keys, key), (seeds, seed)):
        for chosen in itertools.combinations(shares, 3):
            assert combine({name: shares[name] for name in chosen}) == secret
        for chosen in itertools.combinations(shares, 2):
            numbers = {name + 1: int.from_bytes(shares[name], "big") for name in chosen}
            assert combine_numbers(numbers, PRIME) != int.from_bytes(secret, "big")


# --- mask


def test_a_tampered_ciphertext_is_refused() -> None:
    cohort = Cohort(Stage.MASK)
    altered = bytearray(cohort.sealed[2][7])
    altered[40] ^= 1
    with pytest.raises(ProtocolError, match="shares from client 7 for client 2 cannot be opened: altered"):
        cohort.clients[2].mask(VECTOR, cohort.sealed[2] | {7: bytes(altered)})


def test_a_ciphertext_for_another_client_or_from_another_is_refused() -> None:
    cohort = Cohort(Stage.MASK)
    for wrong in (cohort.sealed[11][7], cohort.sealed[2][11], cohort.sealed[7][2]):
        with pytest.raises(ProtocolError, match="from client 7 for client 2 cannot be opened"):
            cohort.clients[2].mask(VECTOR, cohort.sealed[2] | {7: wrong})


def test_a_ciphertext_replayed_from_another_round_is_refused() -> None:
    cohort, old = Cohort(Stage.MASK), Cohort(Stage.MASK, replace(TERMS, round=3))
    with pytest.raises(ProtocolError, match="cannot be opened: altered, or not of round 4 of run 'mine'"):
        cohort.clients[2].mask(VECTOR, cohort.sealed[2] | {7: old.sealed[2][7]})


def test_a_well_sealed_message_whose_share_is_none_is_refused() -> None:
    cohort = Cohort(Stage.MASK)
    two, seven = cohort.clients[2].state, cohort.clients[7].state
    for shares in (Shares(b"\xff" * 33, bytes(33)), Shares(bytes(33), b"\xff" * 33)):
        sealed = seal(shares, TERMS, seven.share_private, two.share_keys[2], 7, 2)
        with pytest.raises(ProtocolError, match="a share of 33 bytes is no number of 33 bytes below the prime"):
            cohort.clients[2].mask(VECTOR, cohort.sealed[2] | {7: sealed})


def test_shares_from_a_client_that_did_not_advertise_or_from_itself_are_refused() -> None:
    cohort = Cohort(Stage.MASK)
    for wrong in (5, 2):
        with pytest.raises(ProtocolError, match=rf"shares from clients \[{wrong}\], which are not other clients"):
            cohort.clients[2].mask(VECTOR, cohort.sealed[2] | {wrong: cohort.sealed[2][7]})


def test_fewer_sharers_than_the_threshold_are_refused() -> None:
    cohort = Cohort(Stage.MASK)
    with pytest.raises(ProtocolError, match="2 clients shared; the threshold is 3"):
        cohort.clients[2].mask(VECTOR, {7: cohort.sealed[2][7]})


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.zeros(4), r"shape \(4,\); the terms say \(5,\)"),
        (np.zeros((1, 5)), r"the terms say \(5,\)"),
        (np.full(5, 0.5), "beyond the clip norm 1"),
        (np.full(5, np.nan), "5 of 5 values are not finite"),
    ],
)
def test_a_vector_that_is_not_of_the_terms_is_refused(vector: np.ndarray, message: str) -> None:
    cohort = Cohort(Stage.MASK)
    with pytest.raises(ProtocolError, match=message):
        cohort.clients[2].mask(vector, cohort.sealed[2])
    assert cohort.clients[2].state.stage == Stage.MASK


def test_a_second_vector_is_never_masked_from_one_state() -> None:
    """The difference of two vectors under the same masks would be in the clear."""
    cohort = Cohort(Stage.UNMASK)
    with pytest.raises(ProtocolError, match="client 2 is asked to mask in round 4, where its next stage is unmask"):
        cohort.clients[2].mask(VECTOR, cohort.sealed[2])


# --- unmask


def test_both_secrets_of_one_client_are_refused() -> None:
    cohort = Cohort(Stage.UNMASK)
    with pytest.raises(ProtocolError, match=r"clients \[7\] are named both as survivors and as dropped; both secrets"):
        cohort.clients[2].unmask(NAMES, [7])


def test_both_secrets_of_one_client_are_refused_in_two_requests_too() -> None:
    cohort = Cohort(Stage.UNMASK)
    cohort.clients[2].unmask(NAMES, [])
    with pytest.raises(ProtocolError, match=r"client 2 has answered for survivors \[2, 7, 11, \d+\] already"):
        cohort.clients[2].unmask([2, 11, NAMES[3]], [7])


def test_the_same_request_twice_gets_the_same_answer_after_a_restart_too() -> None:
    client = Cohort(Stage.UNMASK).clients[2]
    first = client.unmask([2, 7, 11], [NAMES[3]])
    assert ClientRound.from_arrays(client.to_arrays()).unmask([11, 7, 2], [NAMES[3]]) == first


def test_an_answer_gives_one_secret_of_every_client_and_the_others_are_deleted() -> None:
    client = Cohort(Stage.UNMASK).clients[2]
    held = client.state.key_shares | {}, client.state.seed_shares | {}
    answer = client.unmask([2, 7, 11], [NAMES[3]])
    assert (set(answer.self_seeds), set(answer.mask_keys)) == ({2, 7, 11}, {NAMES[3]})
    kept = b"".join(array.tobytes() for array in client.to_arrays().values())
    for name in (7, 11):
        assert held[0][name] not in kept
        assert held[1][name] in kept
    assert held[1][NAMES[3]] not in kept
    assert held[0][NAMES[3]] in kept


@pytest.mark.parametrize(
    ("survivors", "dropped", "message"),
    [
        ((2, 7), (11, NAMES[3]), "2 survivors; the threshold is 3"),
        ((7, 11, NAMES[3]), (2,), "client 2 sent its vector, but is not among the survivors"),
        ((2, 7, 11), (), "are not the clients that shared"),
        ((2, 7, 11, 12), (NAMES[3],), "are not the clients that shared"),
        ((2, 7, 11, 11), (NAMES[3],), r"named twice: \[11\]"),
    ],
)
def test_a_request_for_other_sets_is_refused(survivors: tuple[int], dropped: tuple[int], message: str) -> None:
    client = Cohort(Stage.UNMASK).clients[2]
    with pytest.raises(ProtocolError, match=message):
        client.unmask(survivors, dropped)
    assert client.state.stage == Stage.UNMASK


def test_what_would_unmask_its_own_vector_is_deleted_when_it_is_sent() -> None:
    cohort = Cohort(Stage.MASK)
    client = cohort.clients[2]
    own = client.state.mask_private, client.state.share_private, client.state.self_seed
    client.mask(VECTOR, cohort.sealed[2])
    kept = b"".join(array.tobytes() for array in client.to_arrays().values())
    assert all(len(secret) == 32 and secret not in kept for secret in own)


# --- order, identity, state


def test_no_stage_is_answered_before_its_time_or_twice() -> None:
    client = ClientRound(TERMS, 2)
    for early in (
        lambda: client.share([], verify), lambda: client.mask(VECTOR, {}), lambda: client.unmask([], [])
    ):  # fmt: skip
        with pytest.raises(
            ProtocolError, match="its next stage is advertise; each stage is answered once and in order"
        ):
            early()
    client.advertise(IDENTITIES[2].sign)
    with pytest.raises(ProtocolError, match="asked to advertise in round 4, where its next stage is share"):
        client.advertise(IDENTITIES[2].sign)
    cohort = Cohort(Stage.MASK)
    with pytest.raises(ProtocolError, match="asked to share in round 4, where its next stage is mask"):
        cohort.clients[2].share(cohort.advertised, verify)


def test_the_keys_of_a_deployments_nodes_serve_as_identities() -> None:
    keys = {name: new_node_key() for name in NAMES}
    registered = {name: public_key_of(key) for name, key in keys.items()}
    clients = {name: ClientRound(TERMS, name) for name in NAMES}
    sent = [client.advertise(lambda message, name=name: sign(keys[name], message)) for name, client in clients.items()]
    sealed = clients[2].share(sent, lambda name, message, seal: is_signed(registered[name], message, seal))
    assert set(sealed) == set(NAMES) - {2}
    swapped = registered | {7: registered[11]}
    with pytest.raises(ProtocolError, match="keys of client 7 are not signed"):
        clients[11].share(sent, lambda name, message, seal: is_signed(swapped[name], message, seal))


@pytest.mark.parametrize("stage", [Stage.ADVERTISE, Stage.SHARE, Stage.MASK, Stage.UNMASK])
def test_a_state_is_the_same_after_it_was_kept_as_arrays(stage: Stage) -> None:
    client = Cohort(stage).clients[NAMES[3]]
    kept = client.to_arrays()
    assert {array.dtype.name for array in kept.values()} <= {"uint8", "uint64"}
    assert ClientRound.from_arrays(kept).state == client.state


@pytest.mark.parametrize("name", ["terms", "stage", "self_seed", "key_shares", "mask_keys.clients"])
def test_a_kept_state_that_lacks_something_is_refused(name: str) -> None:
    kept = Cohort(Stage.UNMASK).clients[2].to_arrays()
    del kept[name]
    with pytest.raises(ProtocolError, match=f"cannot be read: '{name}'"):
        ClientRound.from_arrays(kept)


def test_a_kept_state_whose_tables_do_not_match_is_refused() -> None:
    kept = Cohort(Stage.UNMASK).clients[2].to_arrays()
    kept["key_shares"] = kept["key_shares"][:-1]
    with pytest.raises(ProtocolError, match="cannot be read"):
        ClientRound.from_arrays(kept)


def test_secrets_do_not_repeat_over_rounds_begun_on_the_same_terms() -> None:
    one, other = (Cohort(Stage.MASK).clients[2].state for _ in range(2))
    assert one.self_seed != other.self_seed
    assert len({one.share_private, one.mask_private, other.share_private, other.mask_private}) == 4


def test_a_client_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ProtocolError, match="numbered from 0"):
        ClientRound(TERMS, 2**64)
