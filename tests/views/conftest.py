"""Pictures made by hand, shared by the tests of the views."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Tensor]:
    """Return a builder of smooth pictures, (count, channels, size, size) with values of whole 255ths."""

    def build(count: int, channels: int = 3, size: int = 32, seed: int = 0) -> Tensor:
        coarse = torch.rand((count, channels, 4, 4), generator=torch.Generator().manual_seed(seed))
        smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
        return (smooth * 255).round() / 255

    return build


@pytest.fixture
def generator() -> torch.Generator:
    """Return a generator in a fixed state."""
    return torch.Generator().manual_seed(3)
