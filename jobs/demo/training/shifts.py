"""Photographs as another camera, season or light would show them: a test of what carries over.

The shifts are fixed, and made with Pillow instead of `appearance`, so that a model is not judged by
the very changes that it was trained with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from training.photographs import Photograph


def _cast(image: Image.Image) -> Image.Image:
    """Cast the warm brown of dry ground over everything."""
    factors = np.array([1.2, 1.0, 0.75])
    return Image.fromarray(np.clip(np.asarray(image) * factors, 0, 255).astype(np.uint8))


def _turn_hue(image: Image.Image) -> Image.Image:
    """Turn hues by an eighth of the circle."""
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point([(level + 32) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _dim(image: Image.Image) -> Image.Image:
    """Apply gamma 1.8: middle grays become dark."""
    return image.point([round(255 * (level / 255) ** 1.8) for level in range(256)] * 3)


SHIFTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "gray": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "hue": _turn_hue,
    "cast": _cast,
    "dim": _dim,
    "flat": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "hard": lambda image: ImageEnhance.Contrast(image).enhance(1.8),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1.2)),
}


def shift(photograph: Photograph, name: str) -> Photograph:
    """Return the photograph as the shift of that name shows it; its boxes stay."""
    return Photograph(SHIFTS[name](photograph.image), photograph.boxes)
