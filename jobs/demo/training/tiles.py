"""Tiles for training: position, orientation and appearance, all drawn from a seed.

Nothing here touches a pixel of a photograph: `rendering` does what a `Tile` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.appearance import Appearance, AppearanceRange
from training.photographs import Edges, Photograph, clip_boxes

Pixels = NDArray[np.uint8]

HIDDEN = 0.5  # share of a box behind one hole from which on it is no longer there to be found


@dataclass(frozen=True)
class Augmentation:
    """The ways in which tiles for training are drawn.

    Attributes:
        side: of a tile in pixels of the network input.
        zoom: range of the scale, net / img, drawn evenly in its logarithm.
        stretch: greatest factor by which one side's scale is larger than the other's.
        holes: greatest number of gray rectangles.
        hole: longest side of such a rectangle in pixels of the network input.
        variety: range of appearances.
    """

    side: int = 384
    zoom: tuple[float, float] = (1.0, 4.0)
    stretch: float = 1.25
    holes: int = 6
    hole: int = 48
    variety: AppearanceRange = field(default_factory=AppearanceRange)


@dataclass(frozen=True)
class Tile:
    """The content of one tile.

    Attributes:
        photograph: its number.
        area: x1 y1 x2 y2, edges, whole pixels of the photograph; enlarged to a square.
        turned: 0 to 7, as in `turn`, after enlarging.
        appearance: what is then done to its colours.
        holes: int [k, 4], edges, pixels of the network input; gray in the end.
        boxes: float32 [n, 4], xyxy, inclusive corners, pixels of the network input.
    """

    photograph: int
    area: tuple[int, int, int, int]
    turned: int
    appearance: Appearance
    holes: NDArray[np.int64]
    boxes: NDArray[np.float32]


def turn(pixels: Pixels, boxes: Edges, number: int) -> tuple[Pixels, Edges]:
    """Apply one of the 8 flips and rotations to a picture; 0 leaves it as it is.

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
        pixels = pixels[:, ::-1]
    if number & 2:
        pixels = pixels[::-1]
    if number & 4:
        pixels = pixels.swapaxes(0, 1)
    return pixels, turn_boxes(boxes, width, height, number)


def turn_boxes(boxes: Edges, width: int, height: int, number: int) -> Edges:
    """Return the boxes of a picture of this size after `turn`.

    Args:
        boxes: float64 [n, 4], edges.
        width: of the picture before it is turned, in pixels.
        height: likewise.
        number: 0 to 7.
    """
    if number & 1:
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    if number & 2:
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([x1, height - y2, x2, height - y1], axis=1)
    return boxes[:, [1, 0, 3, 2]] if number & 4 else boxes


def inclusive(boxes: Edges, zoom: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return corners for the network to predict, so that `boxes / zoom` are right in the picture.

    Detections are scaled as corners and only then get their inclusive width, x2 - x1 + 1 in pixels
    of the picture; one pixel of it is `zoom` pixels here.

    Args:
        boxes: float64 [n, 4], edges, pixels of the network input.
        zoom: float64 [2], net / img of x and y.

    Returns:
        float32 [n, 4], xyxy, inclusive corners, pixels of the network input.
    """
    corners = boxes.astype(np.float32)
    corners[:, 2:] -= zoom.astype(np.float32)
    return corners


def draw_tile(photographs: Sequence[Photograph], how: Augmentation, seed: int, index: int) -> Tile:
    """Draw one tile for training; the same for the same seed and index, in any process.

    Args:
        photographs: larger ones are chosen more often, in proportion to their pixels. Each side is
            at least `how.side / how.zoom[0]` pixels times the root of `how.stretch` long.
        how: the ranges.
        seed: of the run.
        index: of the tile in the run.
    """
    rng = np.random.default_rng([seed, index])
    sizes = np.array([p.image.width * p.image.height for p in photographs])
    number = int(rng.choice(len(photographs), p=sizes / sizes.sum()))
    photograph = photographs[number]
    zoom = np.exp(rng.uniform(*np.log(how.zoom)))
    stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(how.stretch))
    sides = np.rint(how.side / (zoom * np.array([stretch, 1 / stretch]))).astype(int)
    room = [photograph.image.width - sides[0], photograph.image.height - sides[1]]
    x, y = (int(start) for start in rng.integers(0, np.array(room), endpoint=True))
    area = (x, y, x + int(sides[0]), y + int(sides[1]))
    zooms = how.side / sides
    turned = int(rng.integers(8))
    boxes = clip_boxes(photograph.boxes, area) * np.tile(zooms, 2)
    boxes = turn_boxes(boxes, how.side, how.side, turned)
    holes = _draw_holes(rng, how)
    boxes = boxes[~_hidden(boxes, holes)]
    corners = inclusive(boxes, zooms[::-1] if turned & 4 else zooms)
    return Tile(number, area, turned, how.variety.draw(rng), holes, corners)


def _draw_holes(rng: np.random.Generator, how: Augmentation) -> NDArray[np.int64]:
    """Give int [k, 4], edges; some lie partly outside and are smaller."""
    count = rng.integers(0, how.holes, endpoint=True)
    centres = rng.integers(0, how.side, (count, 2), endpoint=True)
    halves = rng.integers(2, max(2, how.hole // 2), (count, 2), endpoint=True)
    holes: NDArray[np.int64] = np.hstack([centres - halves, centres + halves])
    return holes.clip(0, how.side)


def _hidden(boxes: Edges, holes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each box, bool [n], has at least `HIDDEN` of its area behind one hole."""
    low = np.maximum(boxes[:, None, :2], holes[:, :2])
    high = np.minimum(boxes[:, None, 2:], holes[:, 2:])
    common = (high - low).clip(0).prod(axis=2)  # [n, k]
    own = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    hidden: NDArray[np.bool_] = (common >= HIDDEN * own[:, None]).any(axis=1)
    return hidden
