"""Local optimisers and the learning rate, which follows the server's rounds."""

from __future__ import annotations

import math

import torch
from torch import nn

from fedmetric.config.experiment import Local


def learning_rate(settings: Local, round: int, rounds: int) -> float:
    """Return the learning rate of one round; it is constant inside the round.

    Args:
        settings: the section `local` of an experiment.
        round: server round from 1.
        rounds: number of rounds of the run.

    After a linear warm-up, "cosine" falls from lr in its first round along half a cosine that would reach 0 one
    round after the last (Loshchilov and Hutter, ICLR 2017, equation 5, without restarts); "constant" stays at lr.
    """
    if round <= settings.warmup_rounds:
        return settings.lr * round / (settings.warmup_rounds + 1)
    if settings.schedule == "constant":
        return settings.lr
    past, total = round - settings.warmup_rounds - 1, max(1, rounds - settings.warmup_rounds)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * past / total))


def build_optimiser(module: nn.Module, settings: Local, lr: float) -> torch.optim.Optimizer:
    """Build the local optimiser; weight decay falls on weights of two or more dimensions, never on norms and biases."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=settings.momentum)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=lr)
