"""Resize arrays of equally sized images, for sources that do not read image files."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fedmetric.data.base import Images


def resize_into(pixels: Images, out: Images) -> None:
    """Fill `out` with resized copies of `pixels`, one image at a time.

    Bilinear with antialiasing, as `decode_image` does it; equal sizes are copied.

    Args:
        pixels: (N, h, w, C) uint8, C = 1 or 3.
        out: (N, H, W, C) uint8 to fill.
    """
    if pixels.shape == out.shape:
        out[...] = pixels
        return
    height, width = out.shape[1:3]
    for row, image in enumerate(pixels):
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        out[row] = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR)).reshape(out.shape[1:])
