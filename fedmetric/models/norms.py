"""Normalisation layers: build one by name, or turn a network's BatchNorm layers into GroupNorm."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

MAX_GROUPS = 8
MIN_FEATURES = 8
"""Fewest features of a vector in a group: in a group of one, whatever the feature is, it is normalised to 0."""
NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Return BatchNorm2d for "batch", GroupNorm for "group".

    GroupNorm takes the largest number of groups, at most eight, that divides the channels.
    """
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(_groups(channels), channels)


def replace_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm layer inside a module, in place, by GroupNorm; return the module.

    Groups of a vector's features have eight features at least, so that there is something to normalise by.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            features = child.num_features
            most = MAX_GROUPS if isinstance(child, nn.BatchNorm2d) else max(1, features // MIN_FEATURES)
            setattr(module, name, nn.GroupNorm(_groups(features, most), features))
        else:
            replace_batch_norm(child)
    return module


def _groups(channels: int, most: int = MAX_GROUPS) -> int:
    return next(groups for groups in range(min(MAX_GROUPS, most, channels), 0, -1) if channels % groups == 0)
