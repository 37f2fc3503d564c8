"""Reads image files into memory, whatever their size."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.images.decode_image import decode_image
from odtk_ray.images.unsupported import LARGE_FILE
from odtk_ray.settings import Preprocessing
from odtk_ray.storage.os_errors import os_errors


def read_image_file(path: str, prep: Preprocessing) -> bytes | NDArray[np.uint8]:
    """Read an image file, or decode it from storage if it is too large to be held as it is.

    Args:
        path: local path or URI.
        prep: as for `decode_image`.

    Returns:
        the file; of a large one the pixels, uint8 [height, width, 3], RGB.

    Raises:
        OSError: it cannot be read.
        ImageError: it is large, and cannot be decoded.
    """
    with storage.open_input(path) as stream:
        with os_errors(path):
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            if size <= LARGE_FILE:
                return stream.read()
        return decode_image(stream, prep)
