"""Draws six annotations onto one sheet, so that the sign of theta can be seen."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from odtk_ray import storage
from odtk_ray.checks.annotations import AnnotationReport
from odtk_ray.datasets.annotation_paths import below, image_folder, image_path
from odtk_ray.datasets.ground_truth import read_box
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.polygons import read_rings
from odtk_ray.datasets.problems import Problem, shown
from odtk_ray.datasets.rotated_boxes import Floats, corners
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.images.windows import Windowed, open_windowed
from odtk_ray.settings import Preprocessing
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts, real_path
from odtk_ray.storage.writable import check_file

_TILE, _CAPTION, _COLUMNS = 360, 44, 3  # pixels, pixels, tiles
_BOX, _OUTLINE, _GRAY = (255, 64, 64), (64, 255, 96), (96, 96, 96)


def check_sheet(path: str, annotations: str) -> None:
    """Check that the sheet can be written, before any work is done.

    Raises:
        UsageError: otherwise.
    """
    if not path.lower().endswith(".png"):
        hint = "give a name that ends in .png"
        raise UsageError(f"cannot write the samples to {path}", "they are a PNG", hint)
    check_conflicts([NamedFile("--annotations", annotations)], [NamedFile("--samples", path)])
    check_file(path, picture=True)


def write_samples(report: AnnotationReport, images: str, path: str) -> None:
    """Write the sheet of a report's samples; pictures that cannot be read become findings.

    Args:
        report: of a file; its samples have usable boxes, and images that are there.
        images: the image folder.
        path: of the sheet, a PNG.

    Raises:
        UsageError: the file names an image that the sheet would replace.
        OSError: it cannot be written.
    """
    root = image_folder(images)
    paths = {
        key: image_path(root, str(entry["file_name"]))
        for key, entry in report.images.items()
        if key not in report.lost
    }
    folder = real_path(root)  # resolved once, and not each of a million names
    if real_path(path) in {storage.join(folder, below(root, image)) for image in paths.values()}:
        raise UsageError(f"cannot write the samples to {path}", "it is an image of the file")
    buffer = io.BytesIO()
    _sheet(report, paths).save(buffer, "PNG")
    storage.write_atomic(path, buffer.getvalue())


def _sheet(report: AnnotationReport, paths: Mapping[Any, str]) -> Image.Image:
    """Draw each box as odtk-ray reads it in red, the file's outline in green.

    The red box has its first corner (top left before the turn) marked by a dot, and an arrow along
    its width: theta is the angle from the x axis to the arrow, clockwise where it is positive.
    """
    rows = -(-len(report.samples) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + _CAPTION)), "white")
    broken = set()
    for n, entry in enumerate(report.samples):
        key = id_text(entry["image_id"])
        at = (n % _COLUMNS * _TILE, n // _COLUMNS * (_TILE + _CAPTION))
        try:
            picture = open_windowed(paths[key], Preprocessing())
            tile = _tile(entry, picture)
        except (ImageError, OSError) as error:
            if key not in broken:
                broken.add(key)
                name = shown(report.images[key]["file_name"])
                report.findings.add(Problem.NO_PICTURE, f"is {name} ({error})")
            tile = Image.new("RGB", (_TILE, _TILE), _GRAY)
        sheet.paste(tile, at)
        _caption(ImageDraw.Draw(sheet), entry, (at[0] + 6, at[1] + _TILE + 4))
    return sheet


def _tile(entry: Mapping[str, Any], picture: Windowed) -> Image.Image:
    box = np.array([read_box(entry["bbox"])])
    outline = corners(box)[0]
    side = max(float(np.ptp(outline, axis=0).max()) * 1.5, 32.0)
    origin = outline.mean(axis=0) - side / 2
    scale = _TILE / side
    tile = _part(picture, origin, side)
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


def _part(picture: Windowed, origin: Floats, side: float) -> Image.Image:
    """Cut a square out of a picture, scaled to a tile; gray beyond the picture.

    Raises:
        ImageError: it cannot be decoded.
    """
    limits = np.array([picture.width, picture.height])
    left, top = np.clip(np.floor(origin), 0, limits).astype(int).tolist()
    right, bottom = np.clip(np.ceil(origin + side), [left, top], limits).astype(int).tolist()
    width, height = right - left, bottom - top
    tile = Image.new("RGB", (_TILE, _TILE), _GRAY)
    if width and height:
        pixels = Image.fromarray(picture.read(left, top, width, height))
        x, y = (origin - [left, top]).tolist()
        window = (x, y, x + side, y + side)
        tile = pixels.transform((_TILE, _TILE), Image.Transform.EXTENT, window, fillcolor=_GRAY)
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
    text = (
        f"id {shown(entry.get('id'))}: theta {theta:+.3f} rad ({math.degrees(theta):+.0f} degrees)"
    )
    lines = f"{text}\nred: bbox, theta clockwise   green: segmentation"
    pen.multiline_text(where, lines, fill="black", font=ImageFont.load_default(13))
