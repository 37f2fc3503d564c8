"""Tiles for training: cut, scaled, turned, recoloured, all from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from odtk_ray.training.photographs import Edges, Photograph, clip_boxes

Pixels = NDArray[np.uint8]

# Rec. 601 luma, as Pillow's convert("L")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Augmentation:
    """How tiles for training are drawn.

    Attributes:
        side: of a tile in pixels of the network input.
        zoom: range of the scale, net / img, drawn evenly in its logarithm.
        light: greatest change of brightness, contrast and saturation, a factor of 1 +- light.
        tint: greatest change of each colour channel, likewise.
    """

    side: int = 384
    zoom: tuple[float, float] = (1.5, 3.5)
    light: float = 0.3
    tint: float = 0.1


def turn(pixels: Pixels, boxes: Edges, number: int) -> tuple[Pixels, Edges]:
    """One of the 8 flips and rotations of a tile; 0 leaves it as it is.

    Bit 0 of the number mirrors left and right, bit 1 top and bottom, then bit 2 swaps the axes.

    Args:
        pixels: uint8 [h, w, 3].
        boxes: float64 [n, 4], edges.
        number: 0 to 7.

    Returns:
        uint8 [h, w, 3] or [w, h, 3], a view; and the boxes at the same contents.
    """
    height, width = pixels.shape[:2]
    if number & 1:
        x1, y1, x2, y2 = boxes.T
        pixels, boxes = pixels[:, ::-1], np.stack([width - x2, y1, width - x1, y2], axis=1)
    if number & 2:
        x1, y1, x2, y2 = boxes.T
        pixels, boxes = pixels[::-1], np.stack([x1, height - y2, x2, height - y1], axis=1)
    if number & 4:
        pixels, boxes = pixels.swapaxes(0, 1), boxes[:, [1, 0, 3, 2]]
    return pixels, boxes


def recolour(pixels: Pixels, rng: np.random.Generator, light: float, tint: float) -> Pixels:
    """Changes brightness, contrast, saturation and the balance of the colours at random.

    Args:
        pixels: uint8 [h, w, 3], RGB.
        rng: four numbers and three for the colours are drawn.
        light: greatest change of the first three, as in `Augmentation`.
        tint: greatest change of each colour.

    Returns:
        uint8 [h, w, 3].
    """
    brightness, contrast, saturation = rng.uniform(1 - light, 1 + light, 3).astype(np.float32)
    colours = rng.uniform(1 - tint, 1 + tint, 3).astype(np.float32)
    values = pixels.astype(np.float32) * (brightness * colours)
    gray = (values @ _LUMA)[..., None]
    values = gray + saturation * (values - gray)
    mean = gray.mean()
    values = mean + contrast * (values - mean)
    recoloured: Pixels = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return recoloured


def inclusive(boxes: Edges, zoom: float) -> NDArray[np.float32]:
    """Corners as the network is to predict them, so that `boxes / zoom` are right in the picture.

    Detections are scaled as corners and only then get their inclusive width, x2 - x1 + 1 in pixels
    of the picture; one pixel of it is `zoom` pixels here.

    Args:
        boxes: float64 [n, 4], edges, pixels of the network input.
        zoom: net / img.

    Returns:
        float32 [n, 4], xyxy, inclusive corners, pixels of the network input.
    """
    return (boxes - [0, 0, zoom, zoom]).astype(np.float32)


def draw_tile(
    photographs: Sequence[Photograph], how: Augmentation, seed: int, index: int
) -> tuple[Pixels, NDArray[np.float32]]:
    """One tile for training; the same for the same seed and index, in any process.

    Args:
        photographs: larger ones are chosen more often, in proportion to their pixels.
        how: the ranges.
        seed: of the run.
        index: of the tile in the run.

    Returns:
        uint8 [side, side, 3], RGB; and float32 [n, 4], xyxy, inclusive corners, its pixels.
    """
    rng = np.random.default_rng([seed, index])
    sizes = np.array([p.image.width * p.image.height for p in photographs])
    photograph = photographs[rng.choice(len(photographs), p=sizes / sizes.sum())]
    zoom = float(np.exp(rng.uniform(*np.log(how.zoom))))
    side = how.side / zoom
    x = rng.uniform(0, photograph.image.width - side)
    y = rng.uniform(0, photograph.image.height - side)
    area = (x, y, x + side, y + side)
    tile = photograph.image.resize((how.side, how.side), Image.Resampling.BILINEAR, box=area)
    boxes = clip_boxes(photograph.boxes, area) * zoom
    pixels, boxes = turn(np.asarray(tile), boxes, int(rng.integers(8)))
    return recolour(pixels, rng, how.light, how.tint), inclusive(boxes, zoom)
