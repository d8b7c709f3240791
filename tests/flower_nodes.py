"""Keys of nodes, and nodes that come and go as those of Flower's LinkState do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from fedmetric.deployment.certificates import new_node_key


@cache
def key(number: int) -> bytes:
    """Return a node's key, the same for the same number."""
    return new_node_key()


class Nodes:
    """Flower's nodes: a key that was deleted is neither found nor taken again."""

    def __init__(self) -> None:
        self.all: dict[int, bytes] = {}
        self.names: dict[int, str | None] = {}
        self.deleted: set[int] = set()
        self.connected: set[int] = set()

    def create_node(self, aid: str, owner: str, public_key: bytes, interval: float, *, name: str | None = None) -> int:
        if public_key in self.all.values():
            raise ValueError("Public key already in use.")
        node = 7000 + len(self.all)
        self.all[node], self.names[node] = public_key, name
        return node

    def delete_node(self, aid: str, node: int) -> None:
        if node not in self.all or node in self.deleted:
            raise ValueError("already deleted")
        self.deleted.add(node)

    def get_node_id_by_public_key(self, public_key: bytes) -> int | None:
        return next((node for node, known in self.here().items() if known == public_key), None)

    def deactivate_node(self, node: int) -> bool:
        was = node in self.connected
        self.connected.discard(node)
        return was

    def get_node_info(self, *, node_ids: Sequence[int], statuses: Sequence[str]) -> list[int]:
        return [node for node in node_ids if node in self.connected and "online" in statuses]

    def here(self) -> dict[int, bytes]:
        return {node: known for node, known in self.all.items() if node not in self.deleted}
