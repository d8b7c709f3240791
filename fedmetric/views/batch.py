"""The two built-in augmentations: one for characters, one for natural images, both over whole batches.

Operations run in the order of SimCLR (Chen et al., A Simple Framework for Contrastive Learning, ICML 2020, appendix A):
crop and geometry, colour jitter, grayscale, blur, solarisation. Each image has its own random parameters.
"""

from __future__ import annotations

from torch import Generator, Tensor

from fedmetric.options import Fraction, Interval, NonNegative, Shares
from fedmetric.registry import views
from fedmetric.views.base import Views, chosen, uniform
from fedmetric.views.blur import gaussian_blur
from fedmetric.views.colour import grey, jitter, solarise
from fedmetric.views.geometry import affine_matrices, crop_matrices, flip_matrices, quarter_turned, resample

CROP_RATIO = (3 / 4, 4 / 3)


class Geometry(Views):
    """Crop, rotate, scale, translate, shear and flip with one resampling; amounts of 0 change nothing at all."""

    def __init__(
        self, crop: Interval, rotation: float, translation: float, scaling: Interval, shear: float, flip: float
    ) -> None:
        self.crop, self.rotation, self.translation = crop, rotation, translation
        self.scaling, self.shear, self.flip = scaling, shear, flip
        self.affine = bool(rotation or translation or shear or tuple(scaling) != (1.0, 1.0))

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw the parameters and resample; see `Views`."""
        batch, size = len(images), images.shape[-1]
        matrices: Tensor | None = None
        if tuple(self.crop) != (1.0, 1.0):
            matrices = crop_matrices(size, batch, self.crop, CROP_RATIO, generator)
        if self.affine:
            affine = affine_matrices(
                uniform(-self.rotation, self.rotation, batch, generator, "cpu"),
                uniform(-self.translation, self.translation, (batch, 2), generator, "cpu"),
                uniform(*self.scaling, batch, generator, "cpu"),
                uniform(-self.shear, self.shear, (batch, 2), generator, "cpu"),
            )
            matrices = affine if matrices is None else matrices @ affine
        if self.flip:
            flips = flip_matrices(batch, self.flip, generator)
            matrices = flips if matrices is None else matrices @ flips
        return images if matrices is None else resample(images, matrices, "zeros" if self.affine else "border")


@views.register("glyphs")
class GlyphViews(Views):
    """Distort characters as a hand does: no flips, no large rotations, no colour."""

    def __init__(
        self,
        *,
        rotation: NonNegative = 15.0,
        translation: Fraction = 0.1,
        scaling: Interval = (0.8, 1.2),
        shear: NonNegative = 10.0,
        crop: Shares = (1.0, 1.0),
        blur: Fraction = 0.0,
        quarter_turns: bool = False,
    ) -> None:
        """Set the amounts.

        Args:
            rotation: largest angle in degrees, either way.
            translation: largest shift in x and in y, as a share of the image side.
            scaling: smallest and largest factor; above 1 enlarges the character.
            shear: largest shear in x and in y, degrees.
            crop: smallest and largest share of the area that a random resized crop keeps.
            blur: probability of a 3-tap Gaussian blur, sigma 0.3 to 1 pixels.
            quarter_turns: turn each image, all its views alike, by a random multiple of 90 degrees: a turned character
                is another one, so a client has four times its classes.
        """
        self.geometry = Geometry(crop, rotation, translation, scaling, shear, 0.0)
        self.blur, self.quarter_turns = blur, quarter_turns

    @property
    def num_variants(self) -> int:
        """Four with quarter turns; see `Views.num_variants`."""
        return 4 if self.quarter_turns else 1

    def prepare(self, images: Tensor, labels: Tensor | None, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """Turn whole images; class c turned k times becomes class 4 c + k; see `Views.prepare`.

        Santoro, Bartunov, Botvinick, Wierstra, Lillicrap, Meta-Learning with Memory-Augmented Neural Networks, ICML
        2016, section 4.1.
        """
        return quarter_turned(images, labels, generator) if self.quarter_turns else (images, labels)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Distort, then blur; see `Views`."""
        images = self.geometry(images, generator)
        return _blurred(images, self.blur, (0.3, 1.0), 3, generator)


@views.register("natural")
class NaturalViews(Views):
    """Crop, flip and recolour photographs as SimCLR does for small images (its appendix B.9 for CIFAR-10)."""

    def __init__(
        self,
        *,
        crop: Shares = (0.2, 1.0),
        flip: Fraction = 0.5,
        rotation: NonNegative = 0.0,
        translation: Fraction = 0.0,
        scaling: Interval = (1.0, 1.0),
        shear: NonNegative = 0.0,
        jitter: Fraction = 0.8,
        strength: NonNegative = 0.5,
        grayscale: Fraction = 0.2,
        blur: Fraction = 0.0,
        solarise: Fraction = 0.0,
    ) -> None:
        """Set the amounts.

        Args:
            crop: smallest and largest share of the area that a random resized crop keeps.
            flip: probability of a horizontal flip.
            rotation: largest angle in degrees, either way.
            translation: largest shift in x and in y, as a share of the image side.
            scaling: smallest and largest factor; above 1 enlarges the content.
            shear: largest shear in x and in y, degrees.
            jitter: probability of colour jitter.
            strength: s of SimCLR: brightness, contrast and saturation 0.8 s, hue 0.2 s.
            grayscale: probability of turning an image grey.
            blur: probability of Gaussian blur, sigma 0.1 to 2 pixels, a tenth of the side wide.
            solarise: probability of inverting intensities of a half and more.
        """
        self.geometry = Geometry(crop, rotation, translation, scaling, shear, flip)
        self.jitter, self.strength, self.grayscale, self.blur, self.solarise = (
            jitter,
            strength,
            grayscale,
            blur,
            solarise,
        )

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Crop, recolour, blur and solarise; see `Views`."""
        drawn = self.geometry(images.contiguous(), generator)  # colour works on planes
        images = drawn.clone() if drawn.data_ptr() == images.data_ptr() else drawn
        device, batch = images.device, len(images)
        if self.jitter and self.strength:
            where = chosen(self.jitter, batch, generator, device)
            amount = 0.8 * self.strength
            images[where] = jitter(images[where], amount, amount, amount, min(0.5, 0.2 * self.strength), generator)
        if self.grayscale and images.shape[1] == 3:
            where = chosen(self.grayscale, batch, generator, device)
            images[where] = grey(images[where]).expand(-1, 3, -1, -1)
        taps = max(3, images.shape[-1] // 10 // 2 * 2 + 1)
        images = _blurred(images, self.blur, (0.1, 2.0), taps, generator)
        if self.solarise:
            where = chosen(self.solarise, batch, generator, device)
            images[where] = solarise(images[where])
        return images


@views.register("none")
class NoViews(Views):
    """Return the images as they are; for supervised losses and for tests."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the images; see `Views`."""
        return images


def _blurred(images: Tensor, probability: float, sigma: Interval, taps: int, generator: Generator) -> Tensor:
    if not probability:
        return images
    where = chosen(probability, len(images), generator, images.device)
    widths = uniform(*sigma, len(where), generator, images.device)
    return images.index_copy(0, where, gaussian_blur(images[where], widths, taps)) if len(where) else images
