"""Draw one character of a font, and small affine variations of it that never leave the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fedmetric.data.base import Images

if TYPE_CHECKING:
    from pathlib import Path

WORKING_PIXELS = 112
FONT_SHARE = 0.85  # of the picture's side, for one em


@dataclass(frozen=True)
class Jitter:
    """Largest deviations of a variation: rotation in degrees, the rest as shares (shift: of the picture's side)."""

    rotation: float
    shear: float
    scale: float
    shift: float


NO_JITTER = Jitter(0.0, 0.0, 0.0, 0.0)


def oversampling(image_size: int) -> int:
    """Return how many times larger than the result a character is drawn: 4 at 28 pixels, 1 from 112 pixels on."""
    return max(1, WORKING_PIXELS // image_size)


def open_face(file: Path, image_size: int) -> ImageFont.FreeTypeFont:
    """Open a font file at the size that `draw_character` draws for pictures of `image_size` pixels."""
    pixels = round(FONT_SHARE * image_size * oversampling(image_size))
    return ImageFont.truetype(str(file), pixels, layout_engine=ImageFont.Layout.BASIC)


def draw_character(character: str, face: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw a character white on black, cropped to its ink; mode L."""
    left, top, right, bottom = (round(edge) for edge in face.getbbox(character))
    canvas = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(canvas).text((4 - left, 4 - top), character, fill=255, font=face)
    return canvas.crop(canvas.getbbox())


def vary(ink: Image.Image, image_size: int, jitter: Jitter, generator: np.random.Generator) -> Images:
    """Rotate, shear, scale and shift a character about the picture's centre; shrink and move inside what would not fit.

    Args:
        ink: the cropped character, drawn for `oversampling(image_size)`.
        image_size: side of the result in pixels.
        jitter: the largest deviations; each is drawn uniformly from minus to plus its value.
        generator: five numbers are drawn, whatever the jitter.

    Returns:
        (image_size, image_size) uint8 with a black border of at least one pixel.
    """
    turn, shear, grow, right, down = generator.uniform(-1.0, 1.0, size=5)
    side = image_size * oversampling(image_size)
    angle = math.radians(jitter.rotation * turn)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = (1 + jitter.scale * grow) * rotation @ np.array([[1.0, jitter.shear * shear], [0.0, 1.0]])
    reach = np.abs(matrix) @ (np.array(ink.size) / 2)  # half the extent in x and y
    room = side / 2 - oversampling(image_size)
    fit = min(1.0, room / reach.max())
    matrix, reach = matrix * fit, reach * fit
    shift = np.clip(jitter.shift * side * np.array([right, down]), reach - room, room - reach)
    inverse = np.linalg.inv(matrix)
    offset = np.array(ink.size) / 2 - inverse @ (side / 2 + shift)
    coefficients = (*inverse[0], offset[0], *inverse[1], offset[1])
    drawn = ink.transform(
        (side, side), Image.Transform.AFFINE, tuple(float(c) for c in coefficients), Image.Resampling.BILINEAR
    )
    return np.asarray(drawn.resize((image_size, image_size), Image.Resampling.BOX), dtype=np.uint8)
