"""The momentum target: a copy of the online network that follows it slowly and gets no gradient.

He, Fan, Wu, Xie, Girshick, Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020, equation 2.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fedmetric.objectives.base import Objective


class Target(nn.Module):
    """A backbone and its heads, frozen, in train mode: its norm layers use the statistics of the batch."""

    def __init__(self, *online: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(copy.deepcopy(module) for module in online))
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) images to (B, D) projections without a gradient."""
        found: Tensor = self.layers(images)
        return found

    @torch.no_grad()
    def copy_from(self, *online: nn.Module) -> None:
        """Take over weights and buffers."""
        for ours, theirs in zip(self.layers, online, strict=True):
            ours.load_state_dict(theirs.state_dict())

    @torch.no_grad()
    def follow(self, momentum: float, *online: nn.Module) -> None:
        """Move the weights: target <- momentum target + (1 - momentum) online; running statistics follow the forward
        passes of the target itself."""
        for ours, theirs in zip(self.layers, online, strict=True):
            for slow, fast in zip(ours.parameters(), theirs.parameters(), strict=True):
                slow.lerp_(fast, 1.0 - momentum)


class MomentumObjective(Objective):
    """An objective with a momentum target of the backbone and its projector; subclasses set both attributes.

    Attributes:
        projector: the online projection head.
        momentum: share of the target that stays in every step.
        target: built by `attach`.
    """

    projector: nn.Module
    momentum: float
    target: Target

    def attach(self, backbone: nn.Module) -> None:
        """Build the target; see `Objective.attach`."""
        self.target = Target(backbone, self.projector)

    def reset_target(self, backbone: nn.Module) -> None:
        """Make the target equal to the online network; see `Objective.reset_target`."""
        self.target.copy_from(backbone, self.projector)

    def after_step(self, backbone: nn.Module, progress: float) -> None:
        """Let the target follow; see `Objective.after_step`."""
        self.target.follow(self.momentum, backbone, self.projector)
