"""Picture sizes from file headers, read by Ray tasks where the annotation file has none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.images.decode_image import read_size
from odtk_ray.settings import ExifPolicy

# A header takes 0.1 ms, and the process of a task a second to start: up to this many headers are
# read by the driver itself, and this many by each task.
_PATHS_A_TASK = 5000
# Headers are read from disks and object stores that answer several requests at once.
_THREADS = 8
# Pixels, the most that a plan's int32 columns hold; the worker says of what is longer: too large.
_LONGEST_SIDE = 2**31 - 1


def fill_sizes(records: pa.Table, exif: ExifPolicy) -> pa.Table:
    """Fill in missing widths and heights from image headers; those that cannot be read stay 0.

    A file without a readable header is still planned: its worker reports what is wrong.
    """
    import ray

    widths, heights = (records[c].to_numpy().copy() for c in ("width", "height"))
    unknown = np.flatnonzero((widths <= 0) | (heights <= 0))
    if len(unknown) == 0:
        return records
    paths = records["path"].take(unknown).to_pylist()
    groups = [paths[i : i + _PATHS_A_TASK] for i in range(0, len(paths), _PATHS_A_TASK)]
    if len(groups) == 1:
        sizes = read_sizes(paths, exif)
    else:
        task = ray.remote(num_cpus=1)(read_sizes)
        sizes = np.concatenate(ray.get([task.remote(group, exif) for group in groups]))
    widths[unknown], heights[unknown] = sizes[:, 0], sizes[:, 1]
    for name, column in (("width", widths), ("height", heights)):
        position = records.schema.get_field_index(name)
        records = records.set_column(position, records.schema.field(name), pa.array(column))
    return records


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
