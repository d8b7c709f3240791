"""A federation as anyone would write it: two loops in one process, no message, no worker, no checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedmetric.arrays import Arrays
from fedmetric.federation.base import Update
from fedmetric.federation.memory import ClientState
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site


@dataclass
class Federation:
    """Every client in every round; what clients keep goes through the form in which it is stored."""

    site: Site
    shared: Arrays = field(default_factory=dict)
    state: Arrays = field(default_factory=dict)
    memories: dict[int, Arrays] = field(default_factory=dict)
    updates: list[Update] = field(default_factory=list)

    def __post_init__(self) -> None:
        trainer = self.site.trainer
        self.shared = trainer.embedder.arrays(trainer.routes.up)
        self.state = trainer.rule.init(self.shared)

    def run(self, round: int) -> None:
        trainer = self.site.trainer
        sent = {name: self.shared[name] for name in trainer.routes.down}
        broadcast = trainer.rule.broadcast(self.state)
        self.updates = []
        for client in range(self.site.num_clients):
            own = ClientState.from_arrays(self.memories.get(client, {}), client)
            images = self.site.images_of(client)
            self.updates.append(local_update(trainer, images, sent, broadcast, own, round))
            self.memories[client] = own.to_arrays()
        self.state, self.shared = trainer.rule.aggregate(self.state, self.shared, self.updates)
