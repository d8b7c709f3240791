"""What every augmentation offers: a random view of a whole batch from a generator."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Generator, Tensor


class Views(ABC):
    """Draw random views of images; the same generator state gives the same views, whatever ran before."""

    @property
    def num_variants(self) -> int:
        """Classes that `prepare` makes of one: variant v of class c has the label num_variants * c + v."""
        return 1

    def prepare(self, images: Tensor, labels: Tensor | None, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """Change what all views of an image have in common, before they are drawn; nothing by default.

        Args:
            images: (B, C, H, W) float in [0, 1], H = W.
            labels: (B,) int64, or None.
            generator: as in `__call__`.

        Returns:
            Images and labels; an image that has become another thing has another label.
        """
        return images, labels

    @abstractmethod
    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return one view of every image.

        Args:
            images: (B, C, H, W) float in [0, 1], H = W.
            generator: CPU generator that supplies every random parameter, also when the images are on a GPU.

        Returns:
            (B, C, H, W) float in [0, 1], on the device of the images.
        """


def uniform(low: float, high: float, size: int | tuple[int, ...], generator: Generator, device: object) -> Tensor:
    """Draw `size` floats uniformly from [low, high) on the CPU and move them to a device."""
    import torch

    shape = (size,) if isinstance(size, int) else size
    return (torch.rand(shape, generator=generator) * (high - low) + low).to(device)  # type: ignore[call-overload, no-any-return]


def chosen(probability: float, size: int, generator: Generator, device: object) -> Tensor:
    """Return the indices, int64, of the images that an operation with this probability falls on."""
    import torch

    return (torch.rand(size, generator=generator) < probability).nonzero().squeeze(1).to(device)  # type: ignore[call-overload, no-any-return]
