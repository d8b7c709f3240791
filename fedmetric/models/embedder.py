"""The trained network: a backbone, the objective on top of it, and which of its weights are shared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmetric.arrays import Arrays, check_same
from fedmetric.config import Experiment
from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch, Objective
from fedmetric.registry import backbones, objectives
from fedmetric.seeds import derive_seed


class Embedder(nn.Module):
    """A backbone that maps images to embeddings, with the objective that trains it.

    State is named by module: "backbone.*" and "objective.<child>.*". Weights move by these names only.
    """

    def __init__(self, backbone: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.backbone = backbone
        self.objective = objective
        self.initial_private = self.private()

    def loss(self, batch: Batch) -> Tensor:
        """Return the objective's scalar loss of a batch."""
        value: Tensor = self.objective(self.backbone, batch)
        return value

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Embed images with norm layers in eval mode; the mode of the module is restored.

        Args:
            images: (B, C, H, W) float in [0, 1].

        Returns:
            (B, D) float, unit norm.
        """
        training = self.training
        self.eval()
        try:
            return functional.normalize(self.backbone(images).flatten(1).float(), dim=1)
        finally:
            self.train(training)

    def groups(self) -> dict[str, list[str]]:
        """List the names of the state of every group: the backbone, and each child of the objective."""
        modules = {"backbone": ("backbone", self.backbone)}
        modules |= {name: (f"objective.{name}", child) for name, child in self.objective.named_children()}
        return {
            group: [f"{prefix}.{key}" for key in module.state_dict()] for group, (prefix, module) in modules.items()
        }

    def shared_names(self) -> list[str]:
        """List the names of the weights and buffers that travel: every group but the objective's private ones."""
        return [name for group, names in self.groups().items() if group not in self.objective.private for name in names]

    def shared(self) -> Arrays:
        """Copy the shared state into arrays."""
        return self._copy(self.shared_names())

    def load_shared(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the shared state, by name.

        Raises:
            ProtocolError: names, shapes or dtypes differ from this network's.
        """
        self._replace(arrays, self.shared_names(), "weights for the embedder")

    def private(self) -> Arrays:
        """Copy the state of the objective's private groups into arrays."""
        return self._copy([name for group in self.objective.private for name in self.groups()[group]])

    def load_private(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the private state, by name; see `load_shared`."""
        self._replace(arrays, list(self.initial_private), "private weights of the client")

    def _copy(self, names: list[str]) -> Arrays:
        state = self.state_dict()
        return {name: _to_array(state[name]) for name in names}

    def _replace(self, arrays: Mapping[str, np.ndarray], names: list[str], whose: str) -> None:
        check_same(arrays, self._copy(names), whose)
        state = self.state_dict()
        with torch.no_grad():
            for name, array in arrays.items():
                state[name].copy_(torch.from_numpy(np.array(array)))


def _to_array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().contiguous().numpy(), order="C", copy=True)


def build_embedder(experiment: Experiment, channels: int, init_seed: int | None = None) -> Embedder:
    """Build the network of an experiment with initial weights that depend on the seed alone.

    Args:
        experiment: names the backbone and the objective.
        channels: channels of the images.
        init_seed: seed of the initial weights; by default the experiment's.

    Raises:
        ConfigError: the backbone does not work at this image size.
    """
    size = experiment.image_size
    seed = experiment.seed if init_seed is None else init_seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initial weights"))
        try:
            backbone: nn.Module = backbones.build(experiment.model, channels, size)
            with torch.no_grad():
                backbone.eval()
                dimension = backbone(torch.zeros(2, channels, size, size)).flatten(1).shape[1]
                backbone.train()
        except (RuntimeError, ValueError, AssertionError) as error:  # torchvision asserts the sizes of its transformers
            raise ConfigError(f"model '{experiment.model.name}' does not fit image_size={size}: {error}") from error
        objective: Objective = objectives.build(experiment.objective, dimension)
        embedder = Embedder(backbone, objective)
    # several times faster than the default layout on CPUs; values are the same in every engine because all use it
    return embedder.to(memory_format=torch.channels_last)
