"""Lines in pictures: boxes, outlines and dashes, each in its class's colour with a dark edge."""

from __future__ import annotations

import colorsys
import functools
import math

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

Color = tuple[int, int, int]

_GOLDEN = (math.sqrt(5) - 1) / 2  # steps of this share of a circle never repeat and spread evenly
_TONES = ((0.80, 1.00), (0.90, 0.88), (0.55, 1.00))  # saturation and value, one class after another
HALO = (0, 0, 0, 110)  # a soft dark edge, so that every colour shows on every background
_WHITE = (255, 255, 255)
_DASH = 5  # times the line's width


def usual_width(size: tuple[int, int]) -> int:
    """Return the width of lines in a picture of this width and height, in pixels."""
    return max(1, round(math.sqrt(size[0] * size[1]) / 320))


@functools.lru_cache(maxsize=4096)
def class_color(index: int) -> Color:
    """Return the RGB colour of a class: constant, and unlike those of nearby classes."""
    saturation, value = _TONES[index % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_box(pen: ImageDraw.ImageDraw, box: NDArray[np.float64], color: Color, line: int) -> None:
    """Draw the lines of a box [4], whole pixels, xyxy with inclusive corners."""
    x1, y1, x2, y2 = (int(value) for value in box)
    line = max(1, min(line, min(x2 - x1, y2 - y1) // 8))  # a small box stays open in the middle
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=HALO, width=line + 2)
    pen.rectangle((x1, y1, x2, y2), outline=color, width=line)


def draw_outline(
    pen: ImageDraw.ImageDraw, edges: NDArray[np.float64], color: Color, line: int
) -> None:
    """Draw edges [n, 2, 2], pixels."""
    for width, fill in ((line + 2, HALO), (line, color)):
        for edge in edges.reshape(-1, 4).tolist():
            pen.line(edge, fill=fill, width=width)


def draw_dashed(
    pen: ImageDraw.ImageDraw, edges: NDArray[np.float64], color: Color, line: int
) -> None:
    """Draw edges [n, 2, 2], pixels, in dashes of white and of a colour.

    The white ones show on solid lines of the same colour.
    """
    draw_outline(pen, edges, color, line)
    for start, stop in edges:
        for dash in _dashes(start, stop, _DASH * line):
            pen.line(dash, fill=_WHITE, width=line)


def _dashes(
    start: NDArray[np.float64], stop: NDArray[np.float64], length: int
) -> list[list[float]]:
    """Return [x1, y1, x2, y2] of every second piece of an edge, the first and the last included."""
    pieces = max(1, round(math.dist(start, stop) / length)) // 2 * 2 + 1
    marks = np.linspace(start, stop, pieces + 1)
    dashes: list[list[float]] = np.hstack([marks[:-1:2], marks[1::2]]).tolist()
    return dashes


def visible_edges(corners: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float64]:
    """Clip a polygon's edges to the picture's surroundings: their ends may be far away.

    Liang and Barsky's clipping, to the picture and a margin that hides the cut.

    Args:
        corners: float [n, 2], once around, pixels.
        size: width and height of the picture.

    Returns:
        float64 [m, 2, 2], the ends of the edges that may be seen.
    """
    start = corners.astype(np.float64)
    along = np.roll(start, -1, axis=0) - start
    low, high = -np.array(size) / 8.0 - 16, np.array(size) * 1.125 + 16
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(low - start) / along, (high - start) / along])
    outside = (along == 0) & ((start < low) | (start > high))
    first = np.fmax(np.fmin(*ends).max(axis=1), 0)
    last = np.fmin(np.fmax(*ends).min(axis=1), 1)
    shown = (first <= last) & ~outside.any(axis=1)
    parts = [start + along * t[:, None] for t in (first, last)]
    edges: NDArray[np.float64] = np.stack(parts, axis=1)[shown]
    return edges
