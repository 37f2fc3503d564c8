"""Writes the drawings and crops of one shard's images: what a worker does."""

from __future__ import annotations

import errno
import functools
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from odtk_ray import storage
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.errors import ImageError, OdtkError
from odtk_ray.images.decode_image import decode_image
from odtk_ray.images.image_file import read_image_file
from odtk_ray.images.windows import open_windowed, read_reduced
from odtk_ray.pictures.crops import crop_name, crop_window
from odtk_ray.pictures.draw_detections import draw_detections
from odtk_ray.pictures.drawn_names import KEPT_FORMATS
from odtk_ray.records import to_bbox
from odtk_ray.settings import Preprocessing
from odtk_ray.storage import write_atomic

# Annotated objects of an image: class index, and corners x1, y1, x2, y2, ... once around.
Outlines: TypeAlias = list[tuple[int, list[float]]]


@dataclass(frozen=True)
class PicturesWanted:
    """The pictures that a run writes.

    Attributes:
        draw: folder of the drawings, if there are to be any.
        crops: folder of the crops, likewise.
        names: name of each class.
        threshold: lowest score that is drawn or cut out.
        line_width: pixels; None lets it grow with the picture.
        margin: pixels around the crops.
        prep: how the images are decoded.
        rotated: whether the boxes are rotated.
    """

    draw: str | None
    crops: str | None
    names: Sequence[str]
    threshold: float
    line_width: int | None
    margin: int
    prep: Preprocessing
    rotated: bool


@dataclass
class PicturesWritten:
    """The pictures of a shard: how many there are, and name and reason of each that is missing."""

    drawn: int
    crops: int
    problems: list[str]


@dataclass(frozen=True)
class _Found:
    """The detections of an image that are shown, best first; `outlines` of rotated boxes."""

    boxes: NDArray[np.floating]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    outlines: NDArray[np.float64] | None


@dataclass(frozen=True)
class _Picture:
    """An image as it was detected in.

    Attributes:
        width: pixels.
        height: pixels.
        read: of x, y, width and height; returns that part, uint8 [height, width, 3].
        whole: reads all of it, and returns it with the factor by which it is reduced.
    """

    width: int
    height: int
    read: Callable[[int, int, int, int], NDArray[np.uint8]]
    whole: Callable[[], tuple[Image.Image, int]]


def draw_shard(
    file: str, records: pa.Table, truth: Sequence[Outlines], wanted: PicturesWanted
) -> PicturesWritten:
    """Draw, and cut out of, the images of one shard.

    Args:
        file: the shard's Parquet file.
        records: `file_name`, `path` and name as `drawn` of its images, in the file's order.
        truth: the annotated objects of these images; empty where they are not drawn.
        wanted: what to write. Images beyond `max_pixels`, read by windows, are drawn smaller;
            their crops have the size of the image.
    """
    written = PicturesWritten(0, 0, [])
    results = pq.read_table(pa.BufferReader(storage.read_bytes(file))).to_pylist()
    for i, (record, result) in enumerate(zip(records.to_pylist(), results, strict=True)):
        if result["error"] is not None:
            continue
        try:
            picture = _open(record["path"], wanted.prep)
            found = _found(result, wanted)
            if wanted.draw is not None:
                drawing = _drawing(picture, found, truth[i] if truth else [], wanted)
                _save(drawing, os.path.join(wanted.draw, record["drawn"]))
                written.drawn += 1
            if wanted.crops is not None:
                written.crops += _cut(picture, found, record["drawn"], wanted.crops, wanted)
        except (ImageError, OSError) as error:  # it was there a moment ago; its detections stay
            written.problems.append(f"{record['file_name']}: {error}")
    return written


def _open(path: str, prep: Preprocessing) -> _Picture:
    """Open an image as it was detected in.

    Raises:
        ImageError: it cannot be decoded.
        OSError: it cannot be read.
    """
    if prep.tile is not None:
        windows = open_windowed(path, prep)
        reduced = functools.partial(read_reduced, windows, prep.max_pixels)
        return _Picture(windows.width, windows.height, windows.read, reduced)
    content = read_image_file(path, prep)
    pixels = decode_image(content, prep) if isinstance(content, bytes) else content.pixels
    height, width = pixels.shape[:2]
    return _Picture(
        width,
        height,
        lambda x, y, across, down: pixels[y : y + down, x : x + across],
        lambda: (Image.fromarray(pixels), 1),
    )


def _found(result: dict[str, Any], wanted: PicturesWanted) -> _Found:
    scores = np.array(result["scores"], np.float32)
    shown = scores >= wanted.threshold
    values = 6 if wanted.rotated else 4
    boxes = np.array(result["boxes"], np.float32).reshape(len(scores), values)[shown]
    classes = np.array(result["classes"], np.int32)[shown]
    if not wanted.rotated:
        return _Found(boxes, scores[shown], classes, None)
    outlines = corners(to_bbox(boxes))
    enclosing = np.hstack([outlines.min(axis=1), outlines.max(axis=1)])
    return _Found(enclosing, scores[shown], classes, outlines)


def _drawing(
    picture: _Picture, found: _Found, truth: Outlines, wanted: PicturesWanted
) -> Image.Image:
    image, factor = picture.whole()
    return draw_detections(
        image,
        found.boxes / factor,
        found.scores,
        wanted.names if len(wanted.names) > 1 else [""],  # one class alone needs no name
        found.classes,
        None if found.outlines is None else found.outlines / factor,
        [(index, np.reshape(ring, (-1, 2)) / factor) for index, ring in truth],
        wanted.line_width,
    )


def _cut(picture: _Picture, found: _Found, drawn: str, folder: str, wanted: PicturesWanted) -> int:
    """Write the crops of an image; return how many there are."""
    count = 0
    for number, (box, index) in enumerate(zip(found.boxes, found.classes, strict=True), 1):
        window = crop_window(box, wanted.margin, (picture.width, picture.height))
        if window is not None:
            name = crop_name(drawn, number, wanted.names[index])
            _save(Image.fromarray(picture.read(*window)), os.path.join(folder, name))
            count += 1
    return count


def _save(picture: Image.Image, path: str) -> None:
    """Write a picture.

    Raises:
        ImageError: its name is too long for the folder.
        OdtkError: nothing can be written there.
    """
    kind = KEPT_FORMATS[os.path.splitext(path)[1].lower()]
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
    try:
        if not storage.is_uri(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # the folder's own path is long
            raise ImageError(f"its name is too long for {os.path.dirname(path)}") from error
        raise OdtkError(error.strerror or str(error), path) from error
