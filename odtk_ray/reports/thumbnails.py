"""Makes small copies of pictures, as the data URIs of JPEGs, within a number of bytes."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from odtk_ray.errors import ImageError
from odtk_ray.images.windows import open_windowed, read_reduced
from odtk_ray.settings import Preprocessing

# Longest side in pixels and JPEG quality, the first that fits is taken.
_STEPS = ((480, 80), (480, 65), (400, 60), (320, 50), (240, 40), (160, 30))


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a picture.

    Attributes:
        width: of the original, in pixels, as it was decoded.
        height: likewise.
        uri: data URI of the JPEG.
    """

    width: int
    height: int
    uri: str


@dataclass(frozen=True)
class _Small:
    width: int
    height: int
    image: Image.Image


def make_thumbnails(
    paths: Sequence[str | None], prep: Preprocessing, room: int
) -> list[Thumbnail | None]:
    """Make small copies of pictures; all of one size and quality.

    Args:
        paths: of the pictures, local or URIs.
        prep: how they are decoded.
        room: bytes that the URIs may take together. Where even the smallest copies take more, the
            last ones are left out.

    Returns:
        None for those that cannot be read.
    """
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        small = list(pool.map(lambda path: _read_small(path, prep), paths))
    for side, quality in _STEPS:
        made = [None if one is None else _encode(one, side, quality) for one in small]
        if sum(len(one.uri) for one in made if one) <= room:
            return made
    return _cut(made, room)


def _read_small(path: str | None, prep: Preprocessing) -> _Small | None:
    if path is None:
        return None
    try:
        picture = open_windowed(path, prep)
        whole, _ = read_reduced(picture, prep.max_pixels)
    except (ImageError, OSError):
        return None
    side = _STEPS[0][0]
    whole.thumbnail((side, side))
    return _Small(picture.width, picture.height, whole)


def _encode(small: _Small, side: int, quality: int) -> Thumbnail:
    image = small.image.copy()
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode()
    return Thumbnail(small.width, small.height, f"data:image/jpeg;base64,{text}")


def _cut(made: list[Thumbnail | None], room: int) -> list[Thumbnail | None]:
    kept: list[Thumbnail | None] = []
    for one in made:
        room -= len(one.uri) if one else 0
        kept.append(one if room >= 0 else None)
    return kept
