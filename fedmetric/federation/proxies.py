"""What the rules have in common that see clients' proxies: each client's rows go up, and only its own come down."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import FederationRule, LocalRound, State, Total, Update
from fedmetric.federation.proxy_rows import joined

ROWS = "proxies"
BLOCK = 512
"""Rows compared with all others at a time."""


class ProxyRule(FederationRule):
    """Average everything else as FedAvg does; hold the rows of every client, and send each client its own back.

    The server's state has an array "proxies/<client>", (K, M, D) float32, for every client that has taken part.
    """

    requires = ("proxies",)
    shares = "weights, and a row or several for each class of the client, without names"

    def start(self, now: LocalRound) -> None:
        """Take over the rows that the server sends back; see `FederationRule.start`."""
        if ROWS in now.extra:
            now.network.objective.place(torch.from_numpy(now.extra[ROWS].copy()))

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Upload the weights and the rows; see `FederationRule.send`."""
        return after, {ROWS: now.network.objective.rows().cpu().numpy()}

    def check_extra(self, extra: Arrays, shared: Arrays) -> None:
        """Want rows of the network's shape, none all zero; see `FederationRule.check_extra`."""
        rows = extra.get(ROWS)
        if set(extra) != {ROWS, *self.beside()} or rows is None or rows.ndim != 3 or rows.dtype != np.float32:
            found = {name: f"{array.dtype} {array.shape}" for name, array in extra.items()}
            raise ProtocolError(f"the proxies must be (K, M, D) float32 under '{ROWS}', not {found}")
        if self.context.row and rows.shape[1:] != self.context.row:
            raise ProtocolError(f"the proxies have rows of {rows.shape[1:]}, the network's are of {self.context.row}")
        if not rows.size or not np.linalg.norm(rows, axis=-1).all():
            raise ProtocolError("the proxies have rows without a direction, all zero")

    def beside(self) -> tuple[str, ...]:
        """Name what else a client uploads."""
        return ()

    def fold(self, total: Total, update: Update) -> None:
        """Add the weights, and set the rows aside; see `FederationRule.fold`.

        Raises:
            ProtocolError: the rows have other sizes than those of the clients before.
        """
        first = next(iter(total.collected.values()), update.extra)[ROWS].shape[1:]
        if update.extra[ROWS].shape[1:] != first:
            raise ProtocolError(f"the proxies have rows of {update.extra[ROWS].shape[1:]}, other clients' of {first}")
        total.weights.fold(update.arrays, self.weight(update))
        total.collected[update.client] = update.extra

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Average the weights, and change the rows; see `FederationRule.finish`."""
        return self.gather(dict(state), total.collected), total.weights.result(shared)

    def gather(self, state: State, collected: dict[int, Arrays]) -> State:
        """Put the rows that came into the state, and change what is there."""
        state |= {f"{ROWS}/{client}": extra[ROWS] for client, extra in collected.items()}
        known = dict(clients_rows(state))
        if known:
            changed = self.separate({client: torch.from_numpy(rows.copy()) for client, rows in known.items()})
            state |= {f"{ROWS}/{client}": rows.numpy().astype(np.float32) for client, rows in changed.items()}
        return state

    def separate(self, rows: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Return all clients' rows, (K, M, D) float32 each, changed by the server; by default as they are."""
        return rows

    def broadcast_to(self, state: State, client: int) -> Arrays:
        """Send a client its own rows; see `FederationRule.broadcast_to`."""
        rows = state.get(f"{ROWS}/{client}")
        return {} if rows is None else {ROWS: rows}

    def figures(self, state: State) -> dict[str, float]:
        """Return mean and largest cosine between the proxies of different classes; see `FederationRule.figures`."""
        known = {client: torch.from_numpy(rows.astype(np.float64)) for client, rows in clients_rows(state)}
        if not known:
            return {}
        flat, classes = joined(known)
        unit = functional.normalize(flat, dim=1)
        total, count, largest = 0.0, 0, -1.0
        for part, own in zip(torch.split(unit, BLOCK), torch.split(classes, BLOCK), strict=True):
            cosines = (part @ unit.T)[own[:, None] != classes[None, :]]
            if len(cosines):
                total, count = total + float(cosines.sum()), count + len(cosines)
                largest = max(largest, float(cosines.max()))
        return {"proxy_cosine_mean": total / count, "proxy_cosine_max": largest} if count else {}


def clients_rows(state: State) -> Iterator[tuple[int, np.ndarray]]:
    """Yield every client and its rows, in the order of clients."""
    names = [name for name in state if name.startswith(f"{ROWS}/")]
    for name in sorted(names, key=lambda name: int(name.rpartition("/")[2])):
        yield int(name.rpartition("/")[2]), state[name]
