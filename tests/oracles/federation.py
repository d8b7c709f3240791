"""A federation as anyone would write it: two loops in one process, no message, no worker, no checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedmetric.arrays import Arrays
from fedmetric.federation.base import Update, Workshop
from fedmetric.federation.memory import ClientState
from fedmetric.seeds import torch_generator
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
        self.shared = trainer.embedder.arrays(trainer.routes.server)
        self.state = trainer.rule.init(self.shared)

    def run(self, round: int) -> None:
        trainer = self.site.trainer
        sent = {name: self.shared[name] for name in trainer.routes.down}
        broadcast = trainer.rule.broadcast(self.state)
        self.updates = []
        for client in range(self.site.num_clients):
            own = ClientState.from_arrays(self.memories.get(client, {}), client)
            alone = trainer.rule.broadcast_to(self.state, client)
            local, images = self.site.trainer_of(client), self.site.images_of(client)
            self.updates.append(local_update(local, images, sent, broadcast | alone, own, round))
            self.memories[client] = own.to_arrays()
        total = trainer.rule.begin(self.shared, {})
        for update in self.updates:
            trainer.rule.fold(total, update)
        self.state, self.shared = trainer.rule.finish(self.state, self.shared, total)
        if trainer.public is not None:
            generator = torch_generator(self.site.experiment.seed, "distillation", round=round)
            workshop = Workshop(trainer.embedder, trainer.public, generator)
            self.shared = trainer.rule.distil(self.shared, total, workshop)
