"""All clients' proxies as one set of rows on the sphere, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional


def moved(rows: Tensor, loss: Callable[[Tensor], Tensor], step: float) -> Tensor:
    """Scale rows to unit length and take one gradient step along the sphere: (R, D) float, unit norm.

    The part of the gradient along the row itself is taken off: for close rows it is far larger than the rest.
    """
    unit = functional.normalize(rows, dim=1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(unit), unit)
    unit = unit.detach()
    along = (gradient * unit).sum(dim=1, keepdim=True)
    return functional.normalize(unit - step * (gradient - along * unit), dim=1)


def joined(rows: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Put all clients' rows below one another: (R, D), and the class of each, (R,) int64, different for each client."""
    classes, start = [], 0
    for found in rows.values():
        classes.append(torch.arange(start, start + found.shape[0]).repeat_interleave(found.shape[1]))
        start += found.shape[0]
    return torch.cat([found.reshape(-1, found.shape[-1]) for found in rows.values()]), torch.cat(classes)


def parted(flat: Tensor, rows: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Undo `joined`."""
    parts = torch.split(flat.detach(), [found.shape[0] * found.shape[1] for found in rows.values()])
    return {client: part.reshape(rows[client].shape) for client, part in zip(rows, parts, strict=True)}
