"""Draws detections into a picture: boxes, and labels where they hide nothing."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from odtk_ray.pictures.strokes import (
    Color,
    class_color,
    draw_box,
    draw_dashed,
    draw_outline,
    usual_width,
    visible_edges,
)

Outline = tuple[int, NDArray[np.floating]]  # class index, and corners [n, 2] once around, pixels
Rectangle = tuple[float, float, float, float]  # x1, y1, x2, y2, inclusive

_LABEL_ALPHA = 215
_LEAST_FONT = 9  # pixels; smaller text cannot be read
_LONGEST = 28  # characters of a name
_HIDDEN = 0.3  # the greatest share of any box that a label may cover
# The greatest share of the picture that labels may cover: those with names, and all of them.
_NAMED, _LABELLED = 0.10, 0.15


def draw_detections(
    picture: Image.Image,
    boxes_xyxy: NDArray[np.floating],
    scores: NDArray[np.floating],
    labels: Sequence[str],
    classes: NDArray[np.integer],
    corners: NDArray[np.floating] | None = None,
    truth: Sequence[Outline] = (),
    line_width: int | None = None,
) -> Image.Image:
    """Draw detections into a copy of a picture, the best on top.

    Lines and text grow with the picture. A label goes above, below or into its box, in smaller text
    or with the score alone if need be, and is left out where it would hide boxes or other labels.

    Args:
        picture: of mode RGB or L; others are drawn by way of RGB, which drops transparency.
        boxes_xyxy: float [n, 4], pixels, inclusive corners; cut off at the picture's edges.
        scores: float [n].
        labels: name of each class, which may be empty; a class beyond them is `class` and its
            number.
        classes: int [n], class index, which also gives the colour.
        corners: float [n, 4, 2], the outlines of rotated boxes; `boxes_xyxy` then encloses them.
        truth: annotated objects, drawn dashed between boxes and labels.
        line_width: pixels; None lets it grow with the picture.

    Returns:
        a new picture of the same size and mode.
    """
    canvas = picture.convert("RGB")
    pen = ImageDraw.Draw(canvas, "RGBA")
    boxes, shown = _visible(boxes_xyxy, picture.size)
    order = shown[np.argsort(-scores[shown], kind="stable")]
    line = line_width or usual_width(picture.size)
    for i in reversed(order):
        color = class_color(int(classes[i]))
        if corners is None:
            draw_box(pen, boxes[i], color, line)
        else:
            draw_outline(pen, visible_edges(corners[i], picture.size), color, line)
    for index, outline in truth:
        draw_dashed(pen, visible_edges(outline, picture.size), class_color(index), line)

    names = [_name(labels, int(classes[i])) for i in order]
    sizes = _font_sizes(names, picture.size)
    space = _Space(picture.size, boxes[order])
    for i, name in zip(order, names, strict=True):
        for text, size, share in _wordings(name, float(scores[i]), *sizes):
            where = space.take(boxes[i], _text_size(text, size), share)
            if where is not None:
                _draw_label(pen, where, text, size, class_color(int(classes[i])))
                break
    return canvas.convert(picture.mode)


class _Space:
    """The space for labels: inside the picture, apart from each other, hiding no box."""

    def __init__(self, size: tuple[int, int], boxes: NDArray[np.float64]) -> None:
        self._size, self._boxes = size, boxes
        self._limits = _HIDDEN * _overlaps(boxes, boxes)
        self._labels: list[Rectangle] = []
        self._covered = 0

    def take(
        self, box: NDArray[np.float64], size: tuple[int, int], share: float
    ) -> Rectangle | None:
        """Reserve the best free place for a label of this size at a box; None if there is none.

        Labels taken so far and this one may cover the given share of the picture.
        """
        width, height = size
        room_x, room_y = self._size[0] - width, self._size[1] - height
        covered = self._covered + width * height
        if room_x < 0 or room_y < 0 or covered > share * self._size[0] * self._size[1]:
            return None
        x1, y1, _, y2 = box.tolist()
        for top in (y1 - height, y1, y2 + 1):
            x, y = min(x1, room_x), min(max(top, 0), room_y)
            label = (x, y, x + width - 1, y + height - 1)
            taken = _overlaps(np.array(label), np.array(self._labels).reshape(-1, 4))
            hidden = _overlaps(np.array(label), self._boxes)
            if not taken.any() and (hidden <= self._limits).all():
                self._labels.append(label)
                self._covered = covered
                return label
        return None


def _overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count common pixels of rectangles [4] or [n, 4] and [n, 4]; inclusive corners."""
    sides = np.minimum(a[..., 2:], b[:, 2:]) - np.maximum(a[..., :2], b[:, :2]) + 1
    common: NDArray[np.float64] = np.maximum(sides, 0).prod(axis=1)
    return common


def _visible(
    boxes: NDArray[np.floating], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Clip boxes to the picture, rounded to pixels; return them and the rows that stay visible."""
    last = np.array([size[0] - 1, size[1] - 1, size[0] - 1, size[1] - 1])
    boxes = boxes.astype(np.float64)
    inside = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)
    inside &= (boxes[:, :2] <= last[:2]).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)
    return np.rint(np.clip(boxes, 0, last)), np.flatnonzero(inside)


def _name(labels: Sequence[str], index: int) -> str:
    name = labels[index] if 0 <= index < len(labels) else f"class {index}"
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "..."


def _font_sizes(names: Sequence[str], picture: tuple[int, int]) -> tuple[int, int]:
    """Return the pixels of the usual and the small text; equal if there are many labels."""
    area = picture[0] * picture[1]
    usual = max(_LEAST_FONT + 2, round(math.sqrt(area) / 45))
    small = max(_LEAST_FONT, round(0.7 * usual))
    width = sum(_text_size(f"{name} 0.00", usual)[0] for name in names)
    crowded = width * _text_size("", usual)[1] > _NAMED * area
    return (small, small) if crowded else (usual, small)


def _wordings(name: str, score: float, usual: int, small: int) -> list[tuple[str, int, float]]:
    """Return texts, font sizes, and how much of the picture they may cover; the best first."""
    number = f"{score:.2f}"
    text = f"{name} {number}".strip()
    return [(text, usual, _NAMED), (text, small, _NAMED), (number, small, _LABELLED)]


def _draw_label(
    pen: ImageDraw.ImageDraw, where: Rectangle, text: str, size: int, color: Color
) -> None:
    red, green, blue = color
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 128  # ITU-R BT.601 luma
    pen.rectangle(where, fill=(*color, _LABEL_ALPHA))
    x = (where[0] + where[2] + 1) / 2
    y = (where[1] + where[3] + 1) / 2
    pen.text((x, y), text, fill="black" if bright else "white", font=_font(size), anchor="mm")


def _text_size(text: str, size: int) -> tuple[int, int]:
    """Return width and height in pixels of a label with its margins."""
    return math.ceil(_font(size).getlength(text)) + size // 2, round(1.25 * size)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
