"""Detects in large pictures tile by tile, and merges what the tiles found."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.detect.detector import Detector, attempt
from odtk_ray.detect.tile_nms import survivors
from odtk_ray.engines.protocol import Content
from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import Decoded
from odtk_ray.images.windows import LARGE, Windowed, open_windowed
from odtk_ray.records import Detections, ImageResult
from odtk_ray.settings import Postprocessing, Preprocessing
from odtk_ray.storage.retry import read_image

Window = tuple[int, int, int, int]  # x, y, width, height in pixels of the image


@dataclass(frozen=True)
class _CutPicture:
    """The size of a picture, its windows, and what reads them."""

    width: int
    height: int
    windows: list[Window]
    reader: _Reader


def cut_windows(width: int, height: int, tile: int, overlap: int) -> list[Window]:
    """Return the windows that cover a picture, row by row.

    All have the full side, unless the picture is smaller: the last ones of a row or column are
    moved back to the border, so that they share more with their neighbours.

    Args:
        width: pixels of the picture.
        height: pixels of the picture.
        tile: side of a window in pixels.
        overlap: pixels that neighbouring windows share, less than `tile`.
    """
    columns, rows = (_starts(length, tile, overlap) for length in (width, height))
    w, h = min(tile, width), min(tile, height)
    return [(x, y, w, h) for y in rows for x in columns]


def count_windows(
    widths: NDArray[np.int32], heights: NDArray[np.int32], tile: int, overlap: int
) -> int:
    """Count the windows of pictures of these sizes in pixels; a picture without a size has one."""
    across, down = (
        -(-np.maximum(side - tile, 0) // (tile - overlap)) + 1 for side in (widths, heights)
    )
    return int(np.dot(across.astype(np.int64), down.astype(np.int64)))


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    last = max(length - tile, 0)
    step = tile - overlap
    return [min(n * step, last) for n in range(-(-last // step) + 1)]


def detect_tiled(
    detector: Detector,
    paths: Sequence[str],
    prep: Preprocessing,
    post: Postprocessing,
    on_done: Callable[[int], None] = lambda _: None,
    on_read: Callable[[], None] = lambda: None,
    on_tiles: Callable[[int], None] = lambda _: None,
) -> list[ImageResult]:
    """Detect in files tile by tile; return one result for each path, in the same order.

    At most two pictures are open at a time: one whose tiles are being read, and one whose tiles
    are being detected. A large picture is open alone.

    Args:
        detector: detects in tiles.
        paths: local paths or URIs.
        prep: with `tile`.
        post: `nms` merges the tiles' detections; `detections` limits each tile, not the picture.
        on_done: called with the number of pictures whose tiles have just been read.
        on_read: called once, when the decode threads have been given all tiles.
        on_tiles: called with the number of tiles that just got their result.

    Raises:
        Exception: any exception of the engine. A bad image never raises.
    """
    cuts: list[_CutPicture | ImageResult] = []
    opened = functools.partial(open_windowed, prep=prep)

    def tiles() -> Iterator[Callable[[], Content]]:
        for path in paths:
            picture: Windowed | ImageError = attempt(
                functools.partial(read_image, path, detector.canary, opened)
            )
            if isinstance(picture, ImageError):
                cuts.append(ImageResult.failed(str(picture)))
            else:
                size = picture.width, picture.height
                windows = cut_windows(*size, prep.tile or max(size), prep.overlap)
                reader = _Reader(picture, len(windows))
                cuts.append(_CutPicture(*size, windows, reader))
                del picture
                for window in windows:
                    yield functools.partial(reader.read, window)
                if size[0] * size[1] > LARGE:
                    reader.done.wait()
                    _trim()
            on_done(1)
        on_read()

    found = iter(detector.detect_in(detector.read_ahead(tiles()), on_tiles))

    def result(picture: _CutPicture | ImageResult) -> ImageResult:
        if isinstance(picture, ImageResult):
            return picture
        return _join(picture, [next(found) for _ in picture.windows], post)

    return list(map(result, cuts))


class _Reader:
    """Reads the windows of a picture, and releases all but its traits after the last one."""

    def __init__(self, picture: Windowed, windows: int) -> None:
        self._picture = picture
        self.traits = picture.traits
        self._left = windows
        self._lock = threading.Lock()
        self.done = threading.Event()

    def read(self, window: Window) -> Content:
        try:
            return Decoded(self._picture.read(*window))
        finally:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self.traits = self._picture.traits
                    del self._picture
                    self.done.set()


def _trim() -> None:
    """Have glibc return freed memory: after closing a PNG it kept 660 MiB."""
    with contextlib.suppress(AttributeError):  # other C libraries lack it
        ctypes.CDLL(None).malloc_trim(0)


def _join(picture: _CutPicture, parts: Sequence[ImageResult], post: Postprocessing) -> ImageResult:
    """Merge the results of the windows into one; a window that failed fails the picture."""
    for (x, y, _, _), part in zip(picture.windows, parts, strict=True):
        if part.error is not None:
            return ImageResult.failed(f"tile at ({x}, {y}): {part.error}")
    moved = [
        _moved(part.detections, x, y)
        for (x, y, _, _), part in zip(picture.windows, parts, strict=True)
    ]
    found = moved[0] if len(moved) == 1 else _suppress(moved, post)
    by_pillow = any(part.by_pillow for part in parts)
    size = picture.width, picture.height
    return ImageResult(None, *size, found, by_pillow, picture.reader.traits)


def _moved(found: Detections, x: int, y: int) -> Detections:
    boxes = found.boxes.copy()
    boxes[:, :4] += np.array([x, y, x, y], np.float32)
    return Detections(found.scores, boxes, found.classes)


def _suppress(parts: Sequence[Detections], post: Postprocessing) -> Detections:
    """Apply NMS once to the detections of all tiles, in pixels of the picture, without a limit."""
    columns = [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("scores", "boxes", "classes")
    ]
    kept = survivors(Detections(*columns), threshold=post.nms, own_angles=post.rotated_nms == "own")
    return Detections(*(column[kept] for column in columns))
