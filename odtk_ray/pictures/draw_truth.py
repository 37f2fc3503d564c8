"""Draws annotated outlines into a picture: dashed, so that detections look different."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from odtk_ray.pictures.draw_detections import HALO, class_color, usual_width, visible_edges

_WHITE = (255, 255, 255)
_DASH = 5  # times the line's width


def draw_truth(
    picture: Image.Image,
    outlines: Sequence[NDArray[np.floating]],
    classes: Sequence[int],
    line_width: int | None = None,
) -> Image.Image:
    """Draw outlines into a copy of a picture, in dashes of white and of the class's colour.

    The white ones show on a detection of the same class that covers the outline.

    Args:
        picture: of mode RGB or L; others are drawn by way of RGB, which drops transparency.
        outlines: float [n, 2] each, the corners once around, pixels.
        classes: of each outline the class index, which gives the colour.
        line_width: pixels; None lets it grow with the picture.

    Returns:
        a new picture of the same size and mode.
    """
    canvas = picture.convert("RGB")
    pen = ImageDraw.Draw(canvas, "RGBA")
    line = line_width or usual_width(picture.size)
    for outline, index in zip(outlines, classes, strict=True):
        for start, stop in visible_edges(outline, picture.size):
            ends = [*start.tolist(), *stop.tolist()]
            pen.line(ends, fill=HALO, width=line + 2)
            pen.line(ends, fill=class_color(index), width=line)
            for dash in _dashes(start, stop, _DASH * line):
                pen.line(dash, fill=_WHITE, width=line)
    return canvas.convert(picture.mode)


def _dashes(
    start: NDArray[np.float64], stop: NDArray[np.float64], length: int
) -> list[list[float]]:
    """Return [x1, y1, x2, y2] of every second piece of an edge, the first and the last included."""
    pieces = max(1, round(math.dist(start, stop) / length)) // 2 * 2 + 1
    marks = np.linspace(start, stop, pieces + 1)
    dashes: list[list[float]] = np.hstack([marks[:-1:2], marks[1::2]]).tolist()
    return dashes
