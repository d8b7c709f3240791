"""Measure the statistics of BatchNorm layers under given weights: a forward pass, no training.

Averaged weights give other activations than any client saw, so averaged running statistics do not fit them; see
`fedmetric.federation.norms`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch.nn.modules.batchnorm import _NormBase

from fedmetric.arrays import Arrays
from fedmetric.data.base import ImageSet
from fedmetric.federation.base import Update
from fedmetric.federation.memory import ClientState
from fedmetric.layout import Layout
from fedmetric.training.batches import to_tensor
from fedmetric.training.local_update import Trainer, one_thread

MAX_IMAGES, BATCH = 1024, 128


def calibrated_names(layout: Layout, down: Collection[str]) -> list[str]:
    """List what a calibration measures: running means and variances of the backbone that clients take over."""
    pairs = [pair for pair in layout.statistics.items() if layout.groups.get(pair[0]) == "backbone"]
    return [name for pair in pairs for name in pair if name in down]


def calibrate(trainer: Trainer, images: ImageSet, shared: Arrays, state: ClientState) -> Update:
    """Run a client's images through the received weights and return its means and variances.

    Args:
        trainer: the network; its weights are replaced.
        images: the client's images; 1,024 at most, evenly spread, are run, without augmentation.
        shared: the server's weights, by name: those that go down.
        state: the client's own; left alone.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, min(MAX_IMAGES, len(images))).round().astype(np.int64))
    embedder, routes = trainer.embedder, trainer.routes
    with one_thread(), torch.no_grad():
        embedder.load(trainer.initial | state.own, routes.own, "the client's own state")
        embedder.load(shared, routes.down, "the server's weights")
        embedder.to(trainer.device).train()
        norms = (module for module in embedder.backbone.modules() if isinstance(module, _NormBase))
        layers = [layer for layer in norms if layer.training]  # frozen ones keep what they have
        usual = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the batches
        try:
            for part in np.array_split(rows, -(-len(rows) // BATCH)):
                embedder.backbone(to_tensor(images.images[part], trainer.device))
        finally:  # the network serves all clients of this process
            for layer, momentum in zip(layers, usual, strict=True):
                layer.momentum = momentum
        return Update(state.client, embedder.arrays(calibrated_names(embedder.layout, routes.down)), len(rows))
