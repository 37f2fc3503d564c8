"""Tiles of photographs with their boxes: cut, scaled, turned, recoloured, all from a seed.

Here boxes are edges, float64 [n, 4], x1 y1 x2 y2 between pixels: a box over pixels 3 and 4 of a
row has the edges 3 and 5. They can be scaled and mirrored exactly; `inclusive` makes the corners
that the network's geometry knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Edges = NDArray[np.float64]
Pixels = NDArray[np.uint8]

VISIBLE = 0.3  # share of a box's area inside a tile from which on it belongs to the tile
# Rec. 601 luma, as Pillow's convert("L")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Photograph:
    """A picture whose boxes are known.

    Attributes:
        image: RGB.
        boxes: float64 [n, 4], edges.
    """

    image: Image.Image
    boxes: Edges


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


def clip_boxes(boxes: Edges, area: tuple[float, float, float, float]) -> Edges:
    """The boxes that belong to an area, cut off at its edges and relative to its corner.

    A box belongs to it when at least `VISIBLE` of its own area lies inside.

    Args:
        boxes: float64 [n, 4], edges, with sides greater than 0.
        area: edges.

    Returns:
        float64 [m, 4], edges, in the order of `boxes`.
    """
    low, high = np.tile(area[:2], 2), np.tile(area[2:], 2)
    inside = np.clip(boxes, low, high)
    share = _area(inside) / _area(boxes)
    return inside[share >= VISIBLE] - low


def _area(boxes: Edges) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return area


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
        pixels, boxes = pixels[:, ::-1], np.array([width, 0, width, 0]) - boxes[:, [2, 1, 0, 3]] * [1, -1, 1, -1]
    if number & 2:
        pixels, boxes = pixels[::-1], np.array([0, height, 0, height]) - boxes[:, [0, 3, 2, 1]] * [-1, 1, -1, 1]
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
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


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
    photographs: list[Photograph], how: Augmentation, seed: int, index: int
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
