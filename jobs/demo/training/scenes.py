"""Scenes with rotated boxes: elongated shapes, cut from photographs, on photographs.

Everything in a scene follows from a seed and the scene's number. Training, validation and the
held-out set differ in their seeds and in the photographs that they are made of.

This generator is frozen: `VERSION` changes with anything that changes a scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.silhouettes import SILHOUETTES, Silhouette

VERSION = 1

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
_MARGIN = 6  # pixels around a shape that its shadow may reach
_TRIES = 40  # places tried for a shape before the scene is taken to be full
_CONTRAST = 40.0  # gray levels between a shape and what is below it, on average


@dataclass(frozen=True)
class Style:
    """The style of scenes.

    Attributes:
        side: of a scene in pixels.
        count: least and greatest number of shapes.
        sides: least and greatest side of a shape in pixels.
        aspects: least and greatest ratio of the longer side to the shorter one.
        hidden: greatest share of a shape that lies below others; what each shape has as its limit
            is drawn evenly from 0 to this.
        zoom: least and greatest enlargement of the photograph that is the ground.

    Raises:
        ValueError: no shape of the greatest aspect has its sides in range, or not every shape fits
            into the picture.
    """

    side: int = 640
    count: tuple[int, int] = (10, 60)
    sides: tuple[float, float] = (16.0, 200.0)
    aspects: tuple[float, float] = (1.5, 8.0)
    hidden: float = 0.5
    zoom: tuple[float, float] = (1.0, 2.5)

    def __post_init__(self) -> None:
        shortest, longest = self.sides
        if longest < shortest * self.aspects[1]:
            raise ValueError(f"sides {self.sides} leave no room for aspects {self.aspects}")
        if self.side < math.hypot(longest, longest / self.aspects[0]):
            raise ValueError(f"shapes of {longest} pixels do not fit into {self.side}")


@dataclass(frozen=True)
class Scene:
    """A picture and the shapes in it, the lowest first.

    Attributes:
        pixels: uint8 [side, side, 3], RGB.
        boxes: float64 [n, 5], (x, y, w, h, theta) as in ODTK's files: w is the longer side, theta
            in radians, clockwise, in (-pi, pi].
        classes: int64 [n], rows of `SILHOUETTES`.
        hidden: float64 [n], share of a shape's pixels below later shapes.
    """

    pixels: Pixels
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    hidden: NDArray[np.float64]


def draw_scene(photographs: Sequence[Image.Image], style: Style, seed: int, index: int) -> Scene:
    """Draw one scene; the same for the same seed and index, in any process.

    Every shape lies inside of the picture as a whole. A scene that has no room for more shapes
    has fewer than were drawn.

    Args:
        photographs: RGB, what grounds and textures are cut from; larger ones more often.
        style: the ranges.
        seed: of the set.
        index: of the scene in the set.
    """
    rng = np.random.default_rng([seed, index])
    canvas = _Canvas(_draw_ground(photographs, style, rng), rng)
    for _ in range(int(rng.integers(*style.count, endpoint=True))):
        for _ in range(_TRIES):
            shape = _draw_shape(style, rng)
            if canvas.has_room(shape):
                canvas.paint(shape, photographs, rng)
                break
    return canvas.scene()


@dataclass(frozen=True)
class _Shape:
    """The position of a shape, and its surroundings.

    Attributes:
        number: row of `SILHOUETTES`.
        hidden: greatest share that may lie below others.
        box: (centre x, centre y, w, h, theta); edges, so that pixel 0 reaches from 0 to 1.
        window: x1 y1 x2 y2, edges, whole pixels; the shape with some margin, as far as the
            picture goes.
        u: float32 [rows, columns] of the window's pixels, see `silhouettes`.
        v: likewise.
        depth: likewise, in pixels; at least 0.5 in pixels that are all covered.
    """

    number: int
    hidden: float
    box: tuple[float, float, float, float, float]
    window: tuple[int, int, int, int]
    u: Floats
    v: Floats
    depth: Floats

    @property
    def kind(self) -> Silhouette:
        return SILHOUETTES[self.number]

    @property
    def slices(self) -> tuple[slice, slice]:
        x1, y1, x2, y2 = self.window
        return slice(y1, y2), slice(x1, x2)


def _draw_shape(style: Style, rng: np.random.Generator) -> _Shape:
    """Draw kind, what may be hidden, aspect, length, angle and place, in this order."""
    number = int(rng.integers(len(SILHOUETTES)))
    hidden = float(rng.uniform(0, style.hidden))
    aspect = math.exp(rng.uniform(*np.log(style.aspects)))
    shortest, longest = style.sides
    width = math.exp(rng.uniform(math.log(shortest * aspect), math.log(longest)))
    height = width / aspect
    theta = -rng.uniform(-math.pi, math.pi)
    sin, cos = math.sin(theta), math.cos(theta)
    half_x = (abs(width * cos) + abs(height * sin)) / 2
    half_y = (abs(width * sin) + abs(height * cos)) / 2
    x, y = (float(rng.uniform(half, style.side - half)) for half in (half_x, half_y))
    window = (
        max(0, math.floor(x - half_x) - _MARGIN),
        max(0, math.floor(y - half_y) - _MARGIN),
        min(style.side, math.ceil(x + half_x) + _MARGIN),
        min(style.side, math.ceil(y + half_y) + _MARGIN),
    )
    right = np.arange(window[0], window[2], dtype=np.float32) + np.float32(0.5 - x)
    down = (np.arange(window[1], window[3], dtype=np.float32) + np.float32(0.5 - y))[:, None]
    u = (right * np.float32(cos) + down * np.float32(sin)) * np.float32(2 / width)
    v = (down * np.float32(cos) - right * np.float32(sin)) * np.float32(2 / height)
    depth = SILHOUETTES[number].depth(u, v, width, height)
    return _Shape(number, hidden, (x, y, width, height, theta), window, u, v, depth)


class _Canvas:
    """A picture in the making, and which shape each of its pixels shows.

    Args:
        ground: uint8 [side, side, 3].
        rng: decides where the light comes from.
    """

    def __init__(self, ground: Pixels, rng: np.random.Generator) -> None:
        self._pixels = ground.astype(np.float32)
        self._owner = np.zeros(ground.shape[:2], np.int64)  # 1 for the first shape
        self._shapes: list[_Shape] = []
        self._areas = np.empty(0, np.int64)  # pixels of each shape
        self._seen = np.empty(0, np.int64)  # those of them that no later shape covers
        self._least = np.empty(0)  # how many have to stay so
        self._shadow = tuple(rng.integers(-4, 4, 2, endpoint=True).tolist())

    def has_room(self, shape: _Shape) -> bool:
        """Return whether enough of all earlier shapes stays visible below this one."""
        return bool((self._seen - self._covered(shape) >= self._least).all())

    def _covered(self, shape: _Shape) -> NDArray[np.int64]:
        """Count the pixels that each earlier shape shows where this one would be, int64 [n]."""
        below = self._owner[shape.slices][shape.depth > 0]
        return np.bincount(below, minlength=len(self._shapes) + 1)[1:]

    def paint(
        self, shape: _Shape, photographs: Sequence[Image.Image], rng: np.random.Generator
    ) -> None:
        """Add a shape on top of all others, and its shadow."""
        inside = shape.depth > 0
        part = self._pixels[shape.slices]
        below = float((part[inside] @ _LUMA).mean())
        cover = np.clip(shape.depth + np.float32(0.5), 0, 1)
        part *= 1 - np.float32(0.45) * _shifted(cover, self._shadow)[..., None]
        surface = _draw_texture(photographs, part.shape[:2], rng)
        surface *= _draw_gains(surface[inside], below, rng)
        # A dark rim, two pixels wide, and what the kind's own surface is like.
        rim = np.float32(0.5) + np.float32(0.5) * np.clip(shape.depth / np.float32(2.5), 0, 1)
        surface *= (rim * shape.kind.shade(shape.u, shape.v)).astype(np.float32)[..., None]
        part += cover[..., None] * (np.clip(surface, 0, 255) - part)
        own = np.count_nonzero(inside)
        self._seen = np.append(self._seen - self._covered(shape), own)
        self._areas = np.append(self._areas, own)
        self._least = np.append(self._least, (1 - shape.hidden) * own)
        self._shapes.append(shape)
        self._owner[shape.slices][inside] = len(self._shapes)

    def scene(self) -> Scene:
        """Return what was painted."""
        # Edges to ODTK's x and y: see docs/conventions.md. The centre in pixel centres is half a
        # pixel less, w counts both end pixels: centre - 1 / 2 - (w - 1) / 2.
        boxes = np.array([shape.box for shape in self._shapes], np.float64).reshape(-1, 5)
        boxes[:, :2] -= boxes[:, 2:4] / 2
        return Scene(
            np.rint(self._pixels.clip(0, 255)).astype(np.uint8),
            boxes,
            np.array([shape.number for shape in self._shapes], np.int64),
            1 - self._seen / self._areas,
        )


def _shifted(values: Floats, by: tuple[int, ...]) -> Floats:
    """Return the values `by` (rows, columns) before each position; 0 beyond the edge."""
    rows, columns = by
    height, width = values.shape
    moved = np.zeros_like(values)
    moved[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = values[
        max(-rows, 0) : height - max(rows, 0), max(-columns, 0) : width - max(columns, 0)
    ]
    return moved


def _cut(
    photographs: Sequence[Image.Image],
    width: int,
    height: int,
    zoom: float,
    rng: np.random.Generator,
) -> Pixels:
    """Cut a random part of a photograph, enlarged to uint8 [height, width, 3].

    Where the photograph is too small for the enlargement it is enlarged more.
    """
    sizes = np.array([image.size for image in photographs], np.float64)
    chances = sizes.prod(axis=1) / sizes.prod(axis=1).sum()
    image = photographs[int(rng.choice(len(photographs), p=chances))]
    zoom = max(zoom, width / image.width, height / image.height)
    wide, high = min(width / zoom, image.width), min(height / zoom, image.height)  # rounded
    x, y = rng.uniform(0, [image.width - wide, image.height - high]).tolist()
    box = (x, y, min(x + wide, image.width), min(y + high, image.height))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))


def _draw_ground(
    photographs: Sequence[Image.Image], style: Style, rng: np.random.Generator
) -> Pixels:
    zoom = math.exp(rng.uniform(*np.log(style.zoom)))
    pixels = _cut(photographs, style.side, style.side, zoom, rng)
    pixels = np.rot90(pixels, int(rng.integers(4)))
    return pixels[:, ::-1] if rng.integers(2) else pixels


def _draw_texture(
    photographs: Sequence[Image.Image], size: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Draw float32 [*size, 3], reduced or enlarged by up to 2."""
    height, width = size
    zoom = math.exp(rng.uniform(-math.log(2), math.log(2)))
    return _cut(photographs, width, height, zoom, rng).astype(np.float32)


def _draw_gains(surface: Floats, below: float, rng: np.random.Generator) -> Floats:
    """Draw colour factors, float32 [3], with which a surface stands out from its background.

    Args:
        surface: float32 [n, 3], RGB.
        below: mean luma of what the surface will cover.
        rng: draws the surface's own luma and tint.
    """
    darkest, brightest = 40.0, 215.0
    dark, bright = max(0.0, below - _CONTRAST - darkest), max(0.0, brightest - below - _CONTRAST)
    place = float(rng.uniform(0, dark + bright))
    wanted = darkest + place if place < dark else below + _CONTRAST + place - dark
    tint = np.exp(rng.uniform(-0.2, 0.2, 3)).astype(np.float32)
    luma = float((surface * tint @ _LUMA).mean())
    gains: Floats = tint * np.float32(wanted / max(luma, 1.0))
    return gains
