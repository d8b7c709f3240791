"""Decode image files that nobody vouches for: one with anything wrong is skipped and counted, never trained on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fedmetric.data.base import Images, Skipped, first_reasons
from fedmetric.errors import DataError

MAX_PIXELS = 64_000_000
MAX_SKIPPED_SHARE = 0.05
IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})
USABLE_MODES = {"1": "L", "L": "L", "RGB": "RGB", "LA": "L", "RGBA": "RGB"}
PALETTE_REASON = "palette image: colours are indices; convert it to RGB"
REFUSED_MODES = {
    "P": PALETTE_REASON,
    "PA": PALETTE_REASON,
    "CMYK": "CMYK image: colours depend on a print profile; convert it to RGB",
    "I": "32-bit image: the range of its intensities is not known; convert it to 8 bits",
    "F": "floating-point image: the range of its intensities is not known; convert it to 8 bits",
}


def decode_image(path: Path, image_size: int, channels: int, invert: bool = False) -> Images:
    """Read one image file.

    Args:
        path: the file.
        image_size: side in pixels of the result; the image is squashed to a square (bilinear, antialiased).
        channels: 1 for grey, 3 for RGB.
        invert: whether to turn dark ink on white into white ink on black.

    Returns:
        (image_size, image_size, channels) uint8.

    Raises:
        ValueError: the file is unusable; the message is the reason.
    """
    if path.stat().st_size == 0:
        raise ValueError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ValueError(f"{picture.width}x{picture.height} pixels, more than {MAX_PIXELS:,}")
                picture.load()
                mode = picture.mode
                if mode.startswith("I;16"):
                    raise ValueError("16-bit image: the range of its intensities is not known; convert it to 8 bits")
                if mode not in USABLE_MODES:
                    raise ValueError(
                        REFUSED_MODES.get(mode, f"images of mode {mode} are not supported; convert it to RGB")
                    )
                usable = picture.convert("L" if channels == 1 else "RGB")
                if usable.size != (image_size, image_size):
                    usable = usable.resize((image_size, image_size), Image.Resampling.BILINEAR)
                pixels = np.asarray(usable, dtype=np.uint8).reshape(image_size, image_size, channels)
    except ValueError:
        raise
    except (OSError, SyntaxError, Image.DecompressionBombError, EOFError) as error:
        raise ValueError(f"cannot be decoded: {error}") from error
    return 255 - pixels if invert else pixels


def decode_files(
    paths: Sequence[Path], root: Path, image_size: int, channels: int, out: Images, invert: bool = False
) -> tuple[np.ndarray, list[Skipped]]:
    """Decode many files into the first rows of `out`, leaving out those that cannot be used.

    Args:
        paths: the files.
        root: the folder that all of them must lie in, after links are followed.
        image_size: side in pixels.
        channels: 1 or 3.
        out: (N, image_size, image_size, channels) uint8 to fill, N = len(paths).
        invert: see `decode_image`.

    Returns:
        The indices into `paths` of the rows that were filled, (M,) int64, and what was skipped.

    Raises:
        DataError: more than one file in twenty was skipped.
    """
    kept: list[int] = []
    skipped: list[Skipped] = []
    inside = root.resolve()
    for index, path in enumerate(paths):
        try:
            if not path.resolve().is_relative_to(inside):
                raise ValueError("lies outside the data folder")
            out[len(kept)] = decode_image(path, image_size, channels, invert)
            kept.append(index)
        except (ValueError, OSError) as error:
            skipped.append(Skipped(str(path.relative_to(root) if path.is_relative_to(root) else path.name), str(error)))
    if len(skipped) > MAX_SKIPPED_SHARE * len(paths):
        raise DataError(
            f"{root}: {len(skipped)} of {len(paths)} images cannot be used, more than {MAX_SKIPPED_SHARE:.0%}; "
            f"{first_reasons(skipped)}"
        )
    return np.asarray(kept, dtype=np.int64), skipped
