"""Normalisation layers: build one by name, or turn a network's BatchNorm layers into GroupNorm."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

MAX_GROUPS = 8
NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Return BatchNorm2d for "batch", GroupNorm for "group".

    GroupNorm takes the largest number of groups, at most eight, that divides the channels.
    """
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(_groups(channels), channels)


def replace_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm layer inside a module, in place, by GroupNorm; return the module."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(_groups(child.num_features), child.num_features))
        else:
            replace_batch_norm(child)
    return module


def _groups(channels: int) -> int:
    return next(groups for groups in range(min(MAX_GROUPS, channels), 0, -1) if channels % groups == 0)
