"""The appearance of a tile: colours, light, sharpness and noise, as numbers drawn from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601, as Pillow's convert("L")
FIELD = 4  # cells of `Appearance.light` along a side
NOISE = 1024  # pixels of the side of the noise that tiles take their own from


@dataclass(frozen=True)
class Appearance:
    """The changes to one tile, in this order.

    Attributes:
        sigma: of the Gaussian blur in pixels.
        sharpness: what of the difference from the blurred tile is added; -1 is the blurred tile.
        gamma: float32 [3], the exponent of each colour on values from 0 to 1.
        mix: float32 [3, 3], the new colours from the old ones.
        contrast: the factor of the difference from the tile's mean gray.
        light: float32 [FIELD, FIELD], factors, interpolated over the tile.
        noise: standard deviation in gray levels.
        grain: size of the noise's grains, 1 or 2 pixels.
        corner: where in the noise the tile's own begins, x and y.
    """

    sigma: float
    sharpness: float
    gamma: Floats
    mix: Floats
    contrast: float
    light: Floats
    noise: float
    grain: int
    corner: tuple[int, int]


@dataclass(frozen=True)
class AppearanceRange:
    """The range of appearances; the defaults reach far beyond what one forest shows.

    Attributes:
        brightness: greatest factor, up or down, drawn evenly in its logarithm as all factors.
        contrast: likewise.
        saturation: likewise.
        gray: share of the tiles without any colour.
        hue: greatest turn of the colours about gray, in degrees.
        tint: greatest factor of each colour.
        gamma: greatest exponent common to the three colours.
        shade: greatest factor of the light from place to place.
        blur: greatest sigma in pixels; the least is a quarter of it.
        sharpness: least and greatest; -1 blurs, 1 sharpens.
        noise: greatest standard deviation in gray levels.
    """

    brightness: float = 1.5
    contrast: float = 2.0
    saturation: float = 2.0
    gray: float = 0.15
    hue: float = 30.0
    tint: float = 1.25
    gamma: float = 1.7
    shade: float = 1.5
    blur: float = 2.5
    sharpness: tuple[float, float] = (-1.0, 1.0)
    noise: float = 12.0

    def draw(self, rng: np.random.Generator) -> Appearance:
        """Draw one appearance; every call takes the same number of values from `rng`."""
        brightness, contrast, saturation, gamma = (
            _factors(rng, limit)
            for limit in (self.brightness, self.contrast, self.saturation, self.gamma)
        )
        if rng.random() < self.gray:
            saturation = np.zeros(1)
        hue = math.radians(rng.uniform(-self.hue, self.hue))
        tint = _factors(rng, self.tint, 3)
        spread = _factors(rng, self.gamma**0.25, 3)  # colours differ in gamma, but less
        mix = brightness * tint[:, None] * (saturate(float(saturation[0])) @ turn_hue(hue))
        noise = rng.uniform(0, self.noise)
        grain, x, y = rng.integers(0, [2, NOISE, NOISE]).tolist()
        return Appearance(
            sigma=self.blur * float(np.exp(rng.uniform(math.log(0.25), 0))),
            sharpness=rng.uniform(*self.sharpness),
            gamma=(gamma * spread).astype(np.float32),
            mix=mix.astype(np.float32),
            contrast=float(contrast[0]),
            light=_factors(rng, self.shade, (FIELD, FIELD)).astype(np.float32),
            noise=noise,
            grain=grain + 1,
            corner=(x, y),
        )


# As the first demonstration model had it, whose trees were found in one forest only.
MILD = AppearanceRange(1.3, 1.3, 1.3, 0.0, 0.0, 1.1, 1.0, 1.0, 1.0, (0.0, 0.0), 0.0)
# For scenes, whose shapes have colours of all kinds already.
MODERATE = AppearanceRange(1.3, 1.5, 1.6, 0.1, 30.0, 1.2, 1.4, 1.3, 1.5, (-1.0, 1.0), 8.0)


def _factors(
    rng: np.random.Generator, limit: float, shape: int | tuple[int, ...] = 1
) -> NDArray[np.float64]:
    """Draw factors from 1 / limit to limit."""
    return np.exp(rng.uniform(-math.log(limit), math.log(limit), shape))


def saturate(factor: float) -> NDArray[np.float64]:
    """Return float64 [3, 3] that moves colours from their luma: 0 makes gray, 1 is neutral."""
    return factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1))


def turn_hue(angle: float) -> NDArray[np.float64]:
    """Return float64 [3, 3] that turns colours about the axis of grays (Rodrigues' formula).

    Args:
        angle: radians; a third of a circle takes red to green.
    """
    third, root = 1 / 3, math.sqrt(1 / 3)
    cross = root * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: NDArray[np.float64] = cosine * np.eye(3) + sine * cross + (1 - cosine) * third
    return turned
