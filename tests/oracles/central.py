"""Central training as anyone would write it: one network, one loop, no client, no server, no message."""

from __future__ import annotations

import math

import numpy as np
import torch

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.data.cache import load_dataset
from fedmetric.models.embedder import build_embedder
from fedmetric.objectives.base import Batch
from fedmetric.registry import views
from fedmetric.seeds import numpy_generator, torch_generator


def train_centrally(experiment: Experiment) -> Arrays:
    """Train on all images with Adam, made anew in each round, and a cosine over rounds; a target goes on in all."""
    torch.set_num_threads(1)
    images = load_dataset(experiment.data, experiment.image_size).train
    embedder = build_embedder(experiment, images.channels)
    augment = views.build(experiment.views)
    rounds, size, seed = experiment.federation.rounds, experiment.local.batch_size, experiment.seed
    for round in range(1, rounds + 1):
        lr = experiment.local.lr * 0.5 * (1 + math.cos(math.pi * (round - 1) / rounds))
        parameters = list(embedder.parameters())
        optimiser = torch.optim.Adam(
            [{"params": [p for p in parameters if p.ndim >= 2]}, {"params": [p for p in parameters if p.ndim < 2]}],
            lr=lr,
        )
        embedder.train()
        step = 0
        for epoch in range(experiment.local.epochs):
            order = numpy_generator(seed, "order", round=round, client=0, step=epoch).permutation(len(images))
            for first in range(0, len(images) - size + 1, size):
                rows = np.sort(order[first : first + size])
                pixels = torch.from_numpy(images.images[rows]).permute(0, 3, 1, 2).float() / 255
                generator = torch_generator(seed, "views", round=round, client=0, step=step)
                one = augment(pixels, generator)
                two = augment(pixels, generator)
                optimiser.zero_grad()
                embedder.loss(Batch((one, two))).backward()
                optimiser.step()
                embedder.objective.after_step(embedder.backbone, round / rounds)
                step += 1
    return embedder.shared()
