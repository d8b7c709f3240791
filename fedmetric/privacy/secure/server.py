"""The server's half of secure aggregation: it carries messages, counts who is in, and unmasks the sum.

See `fedmetric.privacy.secure.client` for the protocol, the adversary, what is learnt and the differences from the paper
(Bonawitz and others, Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017, figure 4).

Each message is checked as it comes; a bad one is refused with `ProtocolError`, and its client counts as one that did
not answer. The server takes senders as the transport names them, and has no way of telling a masked vector of another
round: both are the transport's task. One client's wrong share of a seed makes the sum meaningless without notice, a
wrong share of a key is noticed, as in the paper; the protocol is for clients that follow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmetric.errors import ProtocolError, TooFewClientsError
from fedmetric.privacy.secure.fixed_point import decode
from fedmetric.privacy.secure.keys import public_key_of
from fedmetric.privacy.secure.masks import expand, pair_mask, pair_seed
from fedmetric.privacy.secure.messages import Advertisement, Unmasking, Verify, check_advertisement
from fedmetric.privacy.secure.sealing import SEALED_BYTES
from fedmetric.privacy.secure.shamir import combine, read_share, weights_at_zero
from fedmetric.privacy.secure.state import Stage
from fedmetric.privacy.secure.terms import Terms, check_clients


class BelowThresholdError(TooFewClientsError):
    """Report a stage that fewer clients answered than the threshold; nothing is learnt of the round's vectors.

    Attributes:
        stage: the stage.
        num_clients: how many answered.
        threshold: how many are needed.
    """

    def __init__(self, stage: Stage, num_clients: int, terms: Terms) -> None:
        super().__init__(
            f"secure aggregation of round {terms.round}: {num_clients} of {terms.num_clients} clients answered at the "
            f"stage '{stage.name.lower()}', and {terms.threshold} are needed; no sum is made"
        )
        self.stage, self.num_clients, self.threshold = stage, num_clients, terms.threshold


@dataclass(frozen=True)
class Roll:
    """The clients that shared: those whose masked vectors came, and those that dropped out before."""

    survivors: tuple[int, ...]
    dropped: tuple[int, ...]


class ServerRound:
    """Collect the four stages of one aggregation: `receive_...` for each message, then `close_...` for the stage.

    Attributes:
        clients: who is still in: those asked at first, then those that answered the last closed stage.
        survivors: whose vectors the sum is of; empty before the stage of masked vectors is closed.
    """

    def __init__(self, terms: Terms, clients: Iterable[int], verify: Verify) -> None:
        """Begin an aggregation.

        Args:
            terms: what the clients are told.
            clients: the cohort, as many as the terms say.
            verify: says who signed what.

        Raises:
            ProtocolError: the cohort has another size, or names a client twice.
        """
        self.clients, self.survivors = check_clients(clients), frozenset[int]()
        if len(self.clients) != terms.num_clients:
            raise ProtocolError(f"a cohort of {len(self.clients)} clients; the terms say {terms.num_clients}")
        self._terms, self._verify, self._stage = terms, verify, Stage.ADVERTISE
        self._answered: set[int] = set()
        self._advertised: dict[int, Advertisement] = {}
        self._sealed: dict[int, dict[int, bytes]] = {}
        self._masked = np.zeros(terms.length, dtype=np.uint32)
        self._dropped = frozenset[int]()
        self._unmaskings: dict[int, Unmasking] = {}

    def receive_advertisement(self, advertisement: Advertisement) -> None:
        """Take a client's signed keys.

        Raises:
            ProtocolError: they are not signed for these terms, equal another client's, or come late or twice.
        """
        self._expect(Stage.ADVERTISE, advertisement.client)
        check_advertisement(self._terms, advertisement, self._verify)
        own = {advertisement.share_key, advertisement.mask_key}
        if len(own) < 2 or any(own & {one.share_key, one.mask_key} for one in self._advertised.values()):
            raise ProtocolError(f"client {advertisement.client} advertised a key twice, or one of another client")
        self._advertised[advertisement.client] = advertisement
        self._answered.add(advertisement.client)

    def close_advertise(self) -> list[Advertisement]:
        """Return what every client that is still in is sent for `ClientRound.share`.

        Raises:
            BelowThresholdError: too few advertised.
        """
        self._close(Stage.ADVERTISE)
        return [self._advertised[client] for client in sorted(self.clients)]

    def receive_shares(self, client: int, sealed: Mapping[int, bytes]) -> None:
        """Take the shares that a client sealed for every other.

        Raises:
            ProtocolError: one is missing, too many or of another length, or they come late or twice.
        """
        self._expect(Stage.SHARE, client)
        if set(sealed) != self.clients - {client} or any(len(message) != SEALED_BYTES for message in sealed.values()):
            raise ProtocolError(
                f"client {client} did not seal {SEALED_BYTES} bytes for each of the clients "
                f"{sorted(self.clients - {client})}"
            )
        self._sealed[client] = dict(sealed)
        self._answered.add(client)

    def close_share(self) -> dict[int, dict[int, bytes]]:
        """Return, for each client that is still in, what it is sent for `ClientRound.mask`: sealed bytes by sender.

        Raises:
            BelowThresholdError: too few shared.
        """
        self._close(Stage.SHARE)
        sealed, self._sealed = self._sealed, {}
        return {
            receiver: {sender: sealed[sender][receiver] for sender in sorted(self.clients - {receiver})}
            for receiver in sorted(self.clients)
        }

    def receive_masked(self, client: int, masked: NDArray[np.uint32]) -> None:
        """Add a client's masked vector to the sum; it is not kept.

        Args:
            client: whose it is.
            masked: (N,) uint32.

        Raises:
            ProtocolError: it has another shape or type, or comes late or twice.
        """
        self._expect(Stage.MASK, client)
        if masked.dtype != np.uint32 or masked.shape != self._masked.shape:
            raise ProtocolError(
                f"client {client} sent {masked.dtype} of shape {masked.shape}; it must be uint32 of "
                f"{self._masked.shape}"
            )
        self._masked += masked
        self._answered.add(client)

    def close_mask(self) -> Roll:
        """Return what every survivor is sent for `ClientRound.unmask`.

        Raises:
            BelowThresholdError: too few masked vectors came.
        """
        shared = self.clients
        self._close(Stage.MASK)
        self.survivors, self._dropped = self.clients, shared - self.clients
        return Roll(tuple(sorted(self.survivors)), tuple(sorted(self._dropped)))

    def receive_unmasking(self, client: int, unmasking: Unmasking) -> None:
        """Take a survivor's shares.

        Raises:
            ProtocolError: they are not of what was asked for, one is no share, or they come late or twice.
        """
        self._expect(Stage.UNMASK, client)
        if set(unmasking.self_seeds) != self.survivors or set(unmasking.mask_keys) != self._dropped:
            raise ProtocolError(
                f"client {client} gave shares of the seeds of {sorted(unmasking.self_seeds)} and the keys of "
                f"{sorted(unmasking.mask_keys)}; asked for were {sorted(self.survivors)} and {sorted(self._dropped)}"
            )
        for share in (*unmasking.self_seeds.values(), *unmasking.mask_keys.values()):
            read_share(share)
        self._unmaskings[client] = unmasking
        self._answered.add(client)

    def close_unmask(self) -> NDArray[np.float64]:
        """Return the sum of the survivors' vectors: (N,) float64, each within `quantisation_bound` of the plain sum.

        Raises:
            BelowThresholdError: too few survivors gave their shares.
            ProtocolError: the shares do not give a dropped client's key.
        """
        self._close(Stage.UNMASK)
        holders = sorted(self._unmaskings)[: self._terms.threshold]
        weights = weights_at_zero([holder + 1 for holder in holders])
        total, length = self._masked, self._terms.length
        for client in sorted(self.survivors):
            shares = {holder: self._unmaskings[holder].self_seeds[client] for holder in holders}
            total -= expand(combine(shares, weights), length)
        for client in sorted(self._dropped):
            private_key = self._mask_key_of(client, holders, weights)
            for survivor in sorted(self.survivors):
                seed = pair_seed(self._terms, private_key, self._advertised[survivor].mask_key, client, survivor)
                total -= pair_mask(seed, length, survivor, client)
        return decode(total, self._terms.clip, self._terms.num_clients)

    def _mask_key_of(self, client: int, holders: Iterable[int], weights: Mapping[int, int]) -> bytes:
        private_key = combine({holder: self._unmaskings[holder].mask_keys[client] for holder in holders}, weights)
        if public_key_of(private_key) != self._advertised[client].mask_key:
            raise ProtocolError(f"the shares of client {client}'s mask key do not give the key that it advertised")
        return private_key

    def _expect(self, stage: Stage, client: int) -> None:
        if self._stage != stage:
            raise ProtocolError(
                f"client {client} answered the stage '{stage.name.lower()}' of round {self._terms.round}, where the "
                f"stage is '{self._stage.name.lower()}'"
            )
        if client not in self.clients:
            raise ProtocolError(f"client {client} is not among those in round {self._terms.round}")
        if client in self._answered:
            raise ProtocolError(f"client {client} answered the stage '{stage.name.lower()}' twice")

    def _close(self, stage: Stage) -> None:
        if self._stage != stage:
            raise ProtocolError(
                f"the stage '{stage.name.lower()}' of round {self._terms.round} cannot be closed, where the stage is "
                f"'{self._stage.name.lower()}'"
            )
        answered, self._answered = frozenset(self._answered), set()
        if len(answered) < self._terms.threshold:
            self._stage = Stage.DONE
            raise BelowThresholdError(stage, len(answered), self._terms)
        self._stage, self.clients = Stage(stage + 1), answered
