"""Small folders of images for federations in tests: each class is a pattern with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 16


def draw_classes(folder: Path, classes: list[str], count: int = 12) -> Path:
    """Write `count` images of each class into folder/class/ and return the folder."""
    for name in classes:
        pattern = np.random.default_rng(list(name.encode())).integers(0, 256, (4, 4))
        rng = np.random.default_rng([1, *name.encode()])
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noisy = np.kron(pattern, np.ones((SIDE // 4, SIDE // 4))) + rng.normal(0, 25, (SIDE, SIDE))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number:02d}.png")
    return folder
