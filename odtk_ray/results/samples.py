"""Six annotations on one sheet, drawn so that the sign of theta can be seen."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from odtk_ray.config import Preprocessing
from odtk_ray.data import storage
from odtk_ray.data.images import decode
from odtk_ray.data.rotated import Floats, corners
from odtk_ray.errors import ImageError
from odtk_ray.results.polygons import read_rings
from odtk_ray.results.truth import read_box

_TILE, _CAPTION, _COLUMNS = 360, 44, 3  # pixels, pixels, tiles
_BOX, _OUTLINE, _GRAY = (255, 64, 64), (64, 255, 96), (96, 96, 96)


def draw_samples(
    annotations: Sequence[Mapping[str, Any]], images: Mapping[Any, Mapping[str, Any]], folder: str
) -> Image.Image:
    """A sheet of annotations: the box as odtk-ray reads it in red, the file's outline in green.

    The red box has its first corner (top left before the turn) marked by a dot, and an arrow along
    its width: theta is the angle from the x axis to the arrow, clockwise where it is positive.

    Args:
        annotations: with a usable `bbox`, of four or five numbers.
        images: the file's `images` by id.
        folder: of the images; one that is not there is drawn as gray.
    """
    rows = -(-max(len(annotations), 1) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + _CAPTION)), "white")
    for n, entry in enumerate(annotations):
        picture = _open(folder, str(images[entry["image_id"]].get("file_name")))
        at = (n % _COLUMNS * _TILE, n // _COLUMNS * (_TILE + _CAPTION))
        sheet.paste(_tile(entry, picture), at)
        _caption(ImageDraw.Draw(sheet), entry, (at[0] + 6, at[1] + _TILE + 4))
    return sheet


def _open(folder: str, name: str) -> Image.Image | None:
    try:
        pixels = decode(storage.read_bytes(os.path.join(folder, name)), Preprocessing())
    except (ImageError, OSError):
        return None
    return Image.fromarray(pixels)


def _tile(entry: Mapping[str, Any], picture: Image.Image | None) -> Image.Image:
    box = np.array([read_box(entry["bbox"])])
    outline = corners(box)[0]
    side = max(float(np.ptp(outline, axis=0).max()) * 1.5, 32.0)
    origin = outline.mean(axis=0) - side / 2
    scale = _TILE / side
    tile = Image.new("RGB", (_TILE, _TILE), _GRAY)
    if picture is not None:
        window = (*origin.tolist(), *(origin + side).tolist())
        tile = picture.transform((_TILE, _TILE), Image.Transform.EXTENT, window, fillcolor=_GRAY)
    pen = ImageDraw.Draw(tile)

    def shown(points: Floats) -> list[tuple[float, float]]:
        return [(x, y) for x, y in ((points + 0.5 - origin) * scale).tolist()]

    for ring in read_rings(entry.get("segmentation")) or []:
        around = shown(np.reshape(ring, (-1, 2)))
        pen.line([*around, around[0]], fill=_OUTLINE, width=7)
    around = shown(outline)
    pen.line([*around, around[0]], fill=_BOX, width=3)
    _dot(pen, around[0], 7)
    _arrow(pen, *shown(np.stack([outline.mean(axis=0), outline[2:].mean(axis=0)])))
    return tile


def _dot(pen: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float) -> None:
    x, y = centre
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_BOX)


def _arrow(pen: ImageDraw.ImageDraw, start: tuple[float, float], stop: tuple[float, float]) -> None:
    way = math.atan2(stop[1] - start[1], stop[0] - start[0])
    pen.line([start, stop], fill=_BOX, width=3)
    for turn in (-2.6, 2.6):
        end = (stop[0] + 14 * math.cos(way + turn), stop[1] + 14 * math.sin(way + turn))
        pen.line([stop, end], fill=_BOX, width=3)


def _caption(
    pen: ImageDraw.ImageDraw, entry: Mapping[str, Any], where: tuple[float, float]
) -> None:
    theta = (read_box(entry["bbox"]) or [0.0])[-1]
    text = f"id {entry.get('id')}: theta {theta:+.3f} rad ({math.degrees(theta):+.0f} degrees)"
    lines = f"{text}\nred: bbox, theta clockwise   green: segmentation"
    pen.multiline_text(where, lines, fill="black", font=ImageFont.load_default(13))
