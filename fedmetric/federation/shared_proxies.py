"""Proxies shared between the clients that own their class.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas, Communication-Efficient Learning of Deep Networks from Decentralized
Data, AISTATS 2017, for the weights; the rows of a class are averaged over those that hold the class and over no one
else, each owner alike, whatever place the class has in a client's own order. An owner that comes later starts from what
the others have made of the row: its own first one, drawn at random, does not undo theirs.
"""

from __future__ import annotations

import hashlib

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import LocalRound, State
from fedmetric.federation.proxies import ROWS, ProxyRule, clients_rows
from fedmetric.registry import rules

CLASSES = "classes"


def class_token(name: str) -> int:
    """Hash a class name into 63 bits: equal names meet, and whoever guesses a name can check it."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


@rules.register("shared-proxies")
class SharedProxies(ProxyRule):
    """Average the weights, and the proxies of each class over the clients that hold it."""

    requires = ("proxies",)
    shares = "weights, the client's proxies, and a hash of the name of each of its classes"
    sends_extra = True

    def beside(self) -> tuple[str, ...]:
        """Name the tokens of the classes; see `ProxyRule.beside`."""
        return (CLASSES,)

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Upload the weights, the rows, and whose they are; see `FederationRule.send`."""
        arrays, extra = super().send(before, after, now)
        return arrays, extra | {CLASSES: np.array([class_token(name) for name in now.classes], np.int64)}

    def check_extra(self, extra: Arrays, shared: Arrays) -> None:
        """Want one token for each class; see `FederationRule.check_extra`."""
        super().check_extra(extra, shared)
        tokens = extra[CLASSES]
        if tokens.dtype != np.int64 or tokens.shape != (len(extra[ROWS]),) or len(np.unique(tokens)) != len(tokens):
            raise ProtocolError(
                f"the classes must be {len(extra[ROWS])} different int64, not {tokens.dtype} {tokens.shape}"
            )

    def gather(self, state: State, collected: dict[int, Arrays]) -> State:
        """Average the rows of each class that came, for all its owners; see `ProxyRule.gather`.

        A client that takes part for the first time has trained from rows of its own: of a class that others have rows
        for already, it takes theirs over, and adds nothing to them.
        """
        standing = {
            token: row
            for client, rows in clients_rows(state)
            for token, row in zip(state[f"{CLASSES}/{client}"].tolist(), rows, strict=True)
        }
        came: dict[int, list[np.ndarray]] = {}
        for client, extra in collected.items():
            new = f"{ROWS}/{client}" not in state
            for token, row in zip(extra[CLASSES].tolist(), extra[ROWS], strict=True):
                if not (new and token in standing):
                    came.setdefault(token, []).append(row.astype(np.float64))
        state |= {f"{part}/{client}": extra[part] for client, extra in collected.items() for part in (ROWS, CLASSES)}
        standing |= {token: np.mean(found, axis=0) for token, found in came.items()}
        for client in [client for client, _ in clients_rows(state)]:
            tokens = state[f"{CLASSES}/{client}"].tolist()
            state[f"{ROWS}/{client}"] = np.stack([standing[token] for token in tokens]).astype(np.float32)
        return state
