"""The trained network: a backbone and the objective on top of it, with every tensor's name and group."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.distances.base import PairDistance
from fedmetric.distances.cosine import Cosine
from fedmetric.errors import ConfigError, ProtocolError
from fedmetric.layout import Layout
from fedmetric.models.norms import NORM_LAYERS, replace_batch_norm
from fedmetric.objectives.base import TARGET, Batch, Objective, build_objective
from fedmetric.registry import backbones
from fedmetric.seeds import derive_seed


class Embedder(nn.Module):
    """A backbone that maps images to embeddings, with the objective that trains it.

    State is named by module: "backbone.*" and "objective.<child>.*". Weights move by these names only.
    """

    def __init__(self, backbone: nn.Module, objective: Objective, freeze: Collection[str] = ()) -> None:
        """Put the two together.

        Args:
            backbone: the network that embeds.
            objective: what trains it.
            freeze: children of the backbone that are not trained; "*" for all. Their norm layers keep their statistics.

        Raises:
            ConfigError: the backbone has no such child.
        """
        super().__init__()
        children = dict(backbone.named_children())
        if unknown := sorted(set(freeze) - set(children) - {"*"}):
            raise ConfigError(
                f"start.freeze: the backbone has no {unknown}; it has {', '.join(children)}, or '*' for all"
            )
        self._frozen = list(children.values()) if "*" in freeze else [children[name] for name in freeze]
        for child in self._frozen:
            child.requires_grad_(False)
        self.backbone = backbone
        self.objective = objective
        objective.attach(backbone)
        if not any(weight.requires_grad for weight in self.parameters()):
            raise ConfigError("start.freeze leaves nothing to train; freeze less, or choose an objective with a head")

    def train(self, mode: bool = True) -> Embedder:
        """Set the mode of all but the frozen layers, which stay in eval mode."""
        super().train(mode)
        for child in self._frozen:
            child.eval()
        return self

    def loss(self, batch: Batch) -> Tensor:
        """Return the objective's scalar loss of a batch."""
        value: Tensor = self.objective(self.backbone, batch)
        return value

    @contextmanager
    def recorded(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Collect what goes into the backbone inside the `with` block, and what it gives: (B, ...) with gradients."""
        found: list[tuple[Tensor, Tensor]] = []
        given: list[Tensor] = []  # as it was before a hook of the backbone's own changed it
        first = self.backbone.register_forward_pre_hook(lambda module, images: given.append(images[0]), prepend=True)
        last = self.backbone.register_forward_hook(lambda module, _, output: found.append((given.pop(), output)))
        try:
            yield found
        finally:
            first.remove()
            last.remove()

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

    def metric(self, held: Collection[str] | None = None) -> PairDistance:
        """Return the distance by which the embeddings are to be compared.

        Args:
            held: names of the weights that are not merely initial ones; by default all. A learned distance that is not
                among them, because a rule keeps all heads at the clients, means nothing here: then it is cosine.
        """
        distance = self.objective.metric()
        places = {id(module): name for name, module in self.named_modules()}
        weights = {f"{places[id(distance)]}.{key}" for key in distance.state_dict()}
        return distance if held is None or weights <= set(held) else Cosine()

    @cached_property
    def layout(self) -> Layout:
        """What every tensor is; groups are the backbone and those of the objective."""
        modules = {"backbone": self.backbone, **self.objective.group_modules()}
        places = {id(module): name for name, module in self.named_modules(remove_duplicate=False)}
        groups = {
            f"{places[id(module)]}.{key}": group for group, module in modules.items() for key in module.state_dict()
        }
        norms: set[str] = set()
        statistics: dict[str, str] = {}
        for name, module in self.named_modules():
            if isinstance(module, NORM_LAYERS):
                norms |= {f"{name}.{key}" for key in module.state_dict()}
                if isinstance(module, _NormBase) and module.running_mean is not None:
                    statistics[f"{name}.running_mean"] = f"{name}.running_var"
        convolutions = tuple(
            f"backbone.{name}.weight" for name, module in self.backbone.named_modules() if isinstance(module, nn.Conv2d)
        )
        trained = frozenset(name for name, value in self.named_parameters() if value.requires_grad)
        self._check_groups(set(groups), set(modules))
        targets = frozenset(name for name, group in groups.items() if group.rpartition(".")[2] == TARGET)
        private = frozenset(self.objective.private)
        return Layout(groups, trained, frozenset(norms), statistics, convolutions, private, targets)

    def _check_groups(self, grouped: set[str], groups: set[str]) -> None:
        """Refuse an objective whose state is not all in its groups, or that keeps a group private that it has not.

        Raises:
            ConfigError: a tensor outside the groups would pass from one client to the next in the same process.
        """
        kind = type(self.objective).__name__
        if outside := sorted(set(self.state_dict()) - grouped):
            raise ConfigError(f"{kind} has weights outside its groups: {outside[:3]}; put them into a child module")
        if unknown := sorted(set(self.objective.private) - groups):
            raise ConfigError(f"{kind}.private names {unknown}, which are none of its groups {sorted(groups)}")

    def arrays(self, names: Collection[str]) -> Arrays:
        """Copy tensors into arrays, by name."""
        state = self.state_dict()
        return {name: _to_array(state[name]) for name in names}

    def shared(self) -> Arrays:
        """Copy all tensors that may travel under every rule."""
        return self.arrays(self.layout.shareable)

    @torch.no_grad()
    def load(
        self,
        arrays: Mapping[str, np.ndarray],
        names: Collection[str] | None = None,
        whose: str = "weights for the embedder",
    ) -> None:
        """Replace exactly the tensors of these names, by default those of `shared`; nothing is loaded if one differs.

        Raises:
            ProtocolError: names, shapes or dtypes differ from this network's; `whose` begins the message.
        """
        wanted = set(self.layout.shareable if names is None else names)
        missing, unexpected = sorted(wanted - arrays.keys()), sorted(arrays.keys() - wanted)
        if missing or unexpected:
            raise ProtocolError(f"{whose}: missing arrays {missing[:5]}, unexpected arrays {unexpected[:5]}")
        state = self.state_dict()
        given = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        for name, value in given.items():
            if value.shape != state[name].shape or value.dtype != state[name].dtype:
                raise ProtocolError(f"{whose}: {name} is {_described(value)}, expected {_described(state[name])}")
        for name, value in given.items():
            state[name].copy_(value)


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _to_array(tensor: Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().contiguous().numpy(), order="C", copy=True)


def build_embedder(
    experiment: Experiment, channels: int, init_seed: int | None = None, num_classes: int = 1
) -> Embedder:
    """Build the network of an experiment with initial weights that depend on the seed alone.

    Args:
        experiment: names the backbone and the objective, and says whether norm layers are replaced.
        channels: channels of the images.
        init_seed: seed of the initial weights; by default the experiment's.
        num_classes: of the client, for objectives that have a part for each of them.

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
        objective = build_objective(experiment.objective, dimension, num_classes)
        if experiment.federation.norm == "group_norm":
            replace_batch_norm(backbone)
            replace_batch_norm(objective)
        embedder = Embedder(backbone, objective, experiment.start.freeze)
    # several times faster than the default layout on CPUs; values are the same in every engine because all use it
    return embedder.to(memory_format=torch.channels_last)
