"""Reads image files into memory, whatever their size."""

from __future__ import annotations

import contextlib
import os

from odtk_ray import storage
from odtk_ray.images.decode_image import Decoded, decode, open_image
from odtk_ray.images.unsupported import LARGE_FILE
from odtk_ray.settings import Preprocessing
from odtk_ray.storage.os_errors import os_errors


def read_image_file(path: str, prep: Preprocessing) -> bytes | Decoded:
    """Read an image file, or decode it from the disk if it is too large to be held as it is.

    A large object is copied to the disk first, once its header is that of an image: decoders do not
    tell storage that is away from a damaged file.

    Args:
        path: local path or URI.
        prep: as for `decode_image`.

    Returns:
        the file; of a large one what it holds.

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
        open_image(stream)
    with contextlib.ExitStack() as stack:
        with os_errors(path):
            local = stack.enter_context(storage.local_copy(path))
        return decode(stack.enter_context(open(local, "rb")), prep)
