"""Reads the sizes of pictures from the headers of their files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.images.decode_image import read_size
from odtk_ray.settings import ExifPolicy

# Headers are read from disks and object stores that answer several requests at once.
_THREADS = 8
# Pixels, the most that a plan's int32 columns hold; the worker says of what is longer: too large.
_LONGEST_SIDE = 2**31 - 1


def read_sizes(paths: list[str], exif: ExifPolicy) -> NDArray[np.int32]:
    """Read the width and height of image files from their headers.

    Returns:
        int32 [n, 2], pixels; 0 0 where a header cannot be read, or claims more than 2^31 - 1.
    """

    def size(path: str) -> tuple[int, int]:
        try:
            with storage.open_input(path) as stream:
                width, height = read_size(stream, exif)
                return (width, height) if max(width, height) <= _LONGEST_SIDE else (0, 0)
        except Exception:  # the worker that runs the image will report it
            return (0, 0)

    with ThreadPoolExecutor(_THREADS) as pool:
        return np.array(list(pool.map(size, paths)), np.int32).reshape(-1, 2)
