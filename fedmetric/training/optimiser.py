"""Local optimisers and the learning rate, which follows the server's rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fedmetric.arrays import Arrays
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


def build_optimiser(
    module: nn.Module, settings: Local, lr: float, factors: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """Build the local optimiser; weight decay falls on weights of two or more dimensions, never on norms and biases.

    Args:
        module: what is trained.
        settings: the section `local` of an experiment.
        lr: learning rate of the round.
        factors: what it is multiplied by, for parameters by name; 1 for those that are not named.
    """
    kinds: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            kinds.setdefault((parameter.ndim >= 2, (factors or {}).get(name, 1.0)), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": settings.weight_decay if decays else 0.0, "lr": lr * factor}
        for (decays, factor), parameters in kinds.items()
    ]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=settings.momentum)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=lr)


def moments(optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> Arrays:
    """Copy an optimiser's state into arrays named "<moment>:<parameter>", such as "exp_avg:backbone.conv.weight"."""
    return {
        f"{kind}:{name}": np.array(value.detach().cpu().contiguous().numpy(), copy=True)
        for name, parameter in parameters.items()
        for kind, value in optimiser.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def load_moments(optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor], stored: Arrays) -> None:
    """Put back what `moments` copied; parameters without stored moments start anew."""
    for key, array in stored.items():
        kind, _, name = key.partition(":")
        parameter = parameters[name]
        value = torch.from_numpy(np.array(array))
        optimiser.state[parameter][kind] = value if kind == "step" else value.to(parameter)
