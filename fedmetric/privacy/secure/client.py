"""A client's half of secure aggregation: the server learns the sum of the clients' vectors, and none of them.

Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth, Practical Secure Aggregation for
Privacy-Preserving Machine Learning, CCS 2017, figure 4. Client u sends

    y_u = x_u + mask(b_u) + sum_{v > u} mask(s_uv) - sum_{v < u} mask(s_uv)   modulo 2^32

where the seed s_uv is agreed on by the pair and the seed b_u is its own. Pairwise masks vanish from the sum. For each
survivor the others then give shares of b_u; for each client that dropped out after sharing, of its private mask key.
Both together would reveal x_u, so a client gives one of the two, once, and deletes the other.

Adversary: an honest-but-curious server, which follows the protocol, sees all of its messages, and may pool them with
those of fewer clients than the threshold. It learns the sum, who dropped out at which stage, and nothing else of the
vectors; clients that pool theirs can subtract them from the sum. A server that lies is beyond it, except for what
follows:

* It cannot make up keys, if identities are registered out of band: keys are signed. Where it registers identities
  itself it may answer as as many clients as it likes (a Sybil attack), and the sum hides one client among them.
* It cannot collect both secrets of a client by telling some that it survived and others that it did not: a threshold of
  more than half of the cohort, plus half of the colluding clients, prevents that. But it may so learn the sum of fewer
  survivors than the threshold, such as 51 where the threshold is 67 of 100.
* Each state is good for one vector. Whoever keeps states must refuse to begin the same round of a run twice, and keep
  the new state before it sends the answer: two masked vectors, or two answers, from one state may reveal a vector.

The sum is not protected from a client that lies: it may add any vector, or give wrong shares and spoil the sum.
The sum itself may say much about one vector; hiding that is the task of differential privacy.

Differences from the paper:

* No consistency check (its round 3, in which clients sign the set of survivors), which is for servers that lie.
* Signatures and derived keys cover the terms too: the run, round, cohort, threshold, length and clip norm.
* Shares are opened before masking instead of after it, so a message that was tampered with is found before a vector is
  sent; what is not needed any more is deleted then.
* A client's share is at its number plus one, not at its rank, so it does not depend on who advertised.
* Vectors are of 32-bit words, whose scale leaves room for the sum; see `fedmetric.privacy.secure.fixed_point`.
* A cohort, and the clients left at any stage, are never fewer than 3.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.fixed_point import encode
from fedmetric.privacy.secure.keys import new_private_key, public_key_of
from fedmetric.privacy.secure.masks import SEED_BYTES, expand, pair_mask, pair_seed
from fedmetric.privacy.secure.messages import Advertisement, Sign, Unmasking, Verify, advertise, check_advertisement
from fedmetric.privacy.secure.sealing import Shares, seal, unseal
from fedmetric.privacy.secure.shamir import read_share, split
from fedmetric.privacy.secure.state import ClientState, Stage
from fedmetric.privacy.secure.terms import Terms, check_clients


class ClientRound:
    """Take one client through the four stages of one aggregation, each once and in order.

    A stage that refuses a message leaves the state as it was.
    """

    def __init__(self, terms: Terms, client: int) -> None:
        """Begin an aggregation.

        Args:
            terms: what the server proposes; the caller has compared it with what its site allows.
            client: its own number, an unsigned 64-bit one.

        Raises:
            ProtocolError: the number is none.
        """
        check_clients([client])
        self.state = ClientState(terms, client)

    def to_arrays(self) -> Arrays:
        """Write the state as arrays, to be kept on the client; they hold secrets."""
        return self.state.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> ClientRound:
        """Continue from what `to_arrays` wrote.

        Raises:
            ProtocolError: it cannot be read.
        """
        state = ClientState.from_arrays(arrays)
        begun = cls(state.terms, state.client)
        begun.state = state
        return begun

    def advertise(self, sign: Sign) -> Advertisement:
        """Draw two key pairs and sign their public keys.

        Raises:
            ProtocolError: it has advertised already.
        """
        state = self._at(Stage.ADVERTISE)
        share_private, mask_private = new_private_key(), new_private_key()
        signed = advertise(state.terms, state.client, public_key_of(share_private), public_key_of(mask_private), sign)
        state.share_private, state.mask_private = share_private, mask_private
        state.stage = Stage.SHARE
        return signed

    def share(self, advertised: Iterable[Advertisement], verify: Verify) -> dict[int, bytes]:
        """Share its private mask key and the seed of its self mask among all that advertised.

        Args:
            advertised: what the server passes on, its own included.
            verify: says who signed what.

        Returns:
            For every other client 94 sealed bytes.

        Raises:
            ProtocolError: they are fewer than the threshold or more than the cohort, one is named twice, a signature
                is not its client's for these terms, two keys are the same, or its own is missing or changed.
        """
        state = self._at(Stage.SHARE)
        found = self._checked(list(advertised), verify)
        self_seed = secrets.token_bytes(SEED_BYTES)
        key_shares = split(state.mask_private, state.terms.threshold, found)
        seed_shares = split(self_seed, state.terms.threshold, found)
        sealed = {
            other: seal(
                Shares(key_shares[other], seed_shares[other]), state.terms, state.share_private,
                found[other].share_key, state.client, other,
            )
            for other in found if other != state.client
        }  # fmt: skip
        state.self_seed, state.seed_shares = self_seed, {state.client: seed_shares[state.client]}
        state.share_keys = {other: found[other].share_key for other in found}
        state.mask_keys = {other: found[other].mask_key for other in found}
        state.stage = Stage.MASK
        return sealed

    def mask(self, vector: NDArray[Any], sealed: Mapping[int, bytes]) -> NDArray[np.uint32]:
        """Open the others' shares and hide a vector by its self mask and a mask for each of them.

        Args:
            vector: (N,) float32 or float64, of L2 norm at most the terms' clip norm.
            sealed: what every other client that is still in has sealed for this one.

        Returns:
            (N,) uint32, uniform to whoever lacks the seeds.

        Raises:
            ProtocolError: with this client they are fewer than the threshold, one did not advertise, a seal does not
                open, or the vector has another length, is not finite or is beyond the clip norm.
        """
        state, terms = self._at(Stage.MASK), self.state.terms
        self._check_sharers(sealed)
        if vector.shape != (terms.length,):
            raise ProtocolError(f"a vector of shape {vector.shape}; the terms say ({terms.length},)")
        masked = encode(vector, terms.clip, terms.num_clients)
        opened = {other: self._opened(other, message) for other, message in sealed.items()}
        masked += expand(state.self_seed, terms.length)
        for other in sealed:
            seed = pair_seed(terms, state.mask_private, state.mask_keys[other], state.client, other)
            masked += pair_mask(seed, terms.length, state.client, other)
        state.key_shares = {other: shares.mask_key for other, shares in opened.items()}
        state.seed_shares |= {other: shares.self_seed for other, shares in opened.items()}
        state.share_private = state.mask_private = state.self_seed = b""
        state.share_keys, state.mask_keys = {}, {}
        state.stage = Stage.UNMASK
        return masked

    def unmask(self, survivors: Iterable[int], dropped: Iterable[int]) -> Unmasking:
        """Give its shares of the survivors' seeds and of the dropped clients' mask keys; delete all others.

        Asked again for the same, it gives the same.

        Args:
            survivors: clients whose masked vectors the server has, this one included.
            dropped: all other clients that shared.

        Raises:
            ProtocolError: a client is named as both, the two are not those that shared, this client is not among the
                survivors, they are fewer than the threshold, or it has answered for other survivors before.
        """
        state = self.state if self.state.stage == Stage.DONE else self._at(Stage.UNMASK)
        alive, gone = check_clients(survivors), check_clients(dropped)
        self._check_roll(alive, gone)
        state.seed_shares = {other: state.seed_shares[other] for other in sorted(alive)}
        state.key_shares = {other: state.key_shares[other] for other in sorted(gone)}
        state.stage = Stage.DONE
        return Unmasking(dict(state.seed_shares), dict(state.key_shares))

    def _at(self, stage: Stage) -> ClientState:
        if self.state.stage != stage:
            raise ProtocolError(
                f"client {self.state.client} is asked to {stage.name.lower()} in round {self.state.terms.round}, where "
                f"its next stage is {self.state.stage.name.lower()}; each stage is answered once and in order"
            )
        return self.state

    def _checked(self, advertised: list[Advertisement], verify: Verify) -> dict[int, Advertisement]:
        state, terms = self.state, self.state.terms
        clients = check_clients(one.client for one in advertised)
        if not terms.threshold <= len(clients) <= terms.num_clients:
            raise ProtocolError(
                f"{len(clients)} clients advertised keys; the terms allow {terms.threshold} to {terms.num_clients}"
            )
        for one in advertised:
            check_advertisement(terms, one, verify)
        keys = [key for one in advertised for key in (one.share_key, one.mask_key)]
        if len(set(keys)) < len(keys):
            raise ProtocolError("two of the advertised keys are the same")
        found = {one.client: one for one in sorted(advertised, key=lambda one: one.client)}
        own = found.get(state.client)
        if own is None:
            raise ProtocolError(f"client {state.client} is not among the clients whose keys it is sent")
        if (own.share_key, own.mask_key) != (public_key_of(state.share_private), public_key_of(state.mask_private)):
            raise ProtocolError(f"the keys of client {state.client} itself were changed on the way")
        return found

    def _check_sharers(self, sealed: Mapping[int, bytes]) -> None:
        state = self.state
        unknown = sorted(set(sealed) - (set(state.share_keys) - {state.client}))
        if unknown:
            raise ProtocolError(f"shares from clients {unknown}, which are not other clients that advertised keys")
        if len(sealed) + 1 < state.terms.threshold:
            raise ProtocolError(f"{len(sealed) + 1} clients shared; the threshold is {state.terms.threshold}")

    def _opened(self, sender: int, message: bytes) -> Shares:
        state = self.state
        shares = unseal(message, state.terms, state.share_private, state.share_keys[sender], sender, state.client)
        for share in (shares.mask_key, shares.self_seed):
            read_share(share)
        return shares

    def _check_roll(self, alive: frozenset[int], gone: frozenset[int]) -> None:
        state = self.state
        if alive & gone:
            raise ProtocolError(
                f"clients {sorted(alive & gone)} are named both as survivors and as dropped; both secrets of a client "
                "together would reveal its vector"
            )
        if state.client not in alive:
            raise ProtocolError(f"client {state.client} sent its vector, but is not among the survivors")
        if len(alive) < state.terms.threshold:
            raise ProtocolError(f"{len(alive)} survivors; the threshold is {state.terms.threshold}")
        if state.stage == Stage.DONE and (alive, gone) != (
            frozenset(state.seed_shares),
            frozenset(state.key_shares),
        ):
            raise ProtocolError(
                f"client {state.client} has answered for survivors {sorted(state.seed_shares)} already, and is now "
                f"asked for {sorted(alive)}"
            )
        if alive | gone != set(state.seed_shares) | set(state.key_shares):
            raise ProtocolError(
                f"survivors {sorted(alive)} and dropped {sorted(gone)} are not the clients that shared: "
                f"{sorted(state.seed_shares)}"
            )
