"""A folder of small pictures and a small model, to build an index of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fedmetric.config import parse_experiment
from fedmetric.export import save_model
from fedmetric.models.embedder import build_embedder

NAMES = ("a.png", "one/b.png", "one/c.pgm", "one/d.png", "two/deep/e.png", "two/f.png", "z.png")


def draw(path: Path, seed: int) -> Path:
    """Draw random pixels into a file whose format loses none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return path


def draw_folder(root: Path) -> Path:
    """Draw seven pictures at three depths, and write a file that is none."""
    for seed, name in enumerate(NAMES):
        draw(root / name, seed)
    (root / "read me.txt").write_text("no picture")
    return root


def write_model(folder: Path, text: str = "", seed: int = 7) -> Path:
    """Write an untrained model that takes 16 x 16 grey pixels; the text adds to its experiment."""
    given = parse_experiment(f'image_size = 16\ndata = "digits"\nmodel = {{name = "conv4", width = 4}}\n{text}')
    save_model(folder, given, 1, build_embedder(given, 1, init_seed=seed).shared(), ())
    return folder
