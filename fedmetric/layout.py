"""What every tensor of a network is, by name: the vocabulary in which rules say what they share, keep and move.

Names are found by module, never by a part of a name: "downsample.1" is a norm layer whatever it is called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """The tensors of a network.

    Attributes:
        groups: the group of every tensor: "backbone", or a group of the objective such as "projector".
        parameters: tensors that are trained; the others are buffers, or frozen.
        norms: tensors of normalisation layers, parameters and buffers.
        statistics: the running mean of every BatchNorm layer, and the running variance that belongs to it.
        convolutions: weights of the backbone's convolutions, in order.
        private: groups that never leave the client.
        targets: tensors of momentum targets.
    """

    groups: Mapping[str, str]
    parameters: frozenset[str] = frozenset()
    norms: frozenset[str] = frozenset()
    statistics: Mapping[str, str] = field(default_factory=dict)
    convolutions: tuple[str, ...] = ()
    private: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    @property
    def shareable(self) -> list[str]:
        """List the tensors outside the private groups and the momentum target."""
        return [name for name in self.outside(*self.private) if name not in self.targets]

    def of(self, *groups: str) -> list[str]:
        """List the tensors of these groups, in the network's order."""
        return [name for name, group in self.groups.items() if group in groups]

    def outside(self, *groups: str) -> list[str]:
        """List the tensors of all other groups."""
        return [name for name, group in self.groups.items() if group not in groups]


@dataclass(frozen=True)
class Routes:
    """Which tensors travel: `up` to the server, `down` from it; `own` are those a client keeps between rounds.

    Everything that goes down also goes up. A tensor that goes up but not down serves the server's own evaluation.
    `server` are those that the server holds: what goes up, unless the rule makes the server's network by other means.
    """

    up: tuple[str, ...]
    down: tuple[str, ...]
    own: tuple[str, ...]
    server: tuple[str, ...]


def routes(
    layout: Layout, local: Collection[str] = (), kept: Collection[str] = (), server: Collection[str] | None = None
) -> Routes:
    """Divide a network's tensors.

    Args:
        layout: of the network.
        local: tensors that stay at the client altogether, beside the private groups.
        kept: tensors that are sent to the server but never taken from it.
        server: tensors that the server holds; by default those that go up.
    """
    stays = {name for name, group in layout.groups.items() if group in layout.private} | set(local)
    up = tuple(name for name in layout.groups if name not in stays)
    down = tuple(name for name in up if name not in set(kept))
    own = tuple(name for name in layout.groups if name not in set(down))
    return Routes(up, down, own, up if server is None else tuple(server))
