"""Picture sizes from file headers, where the annotation file has none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray.cluster.workers import Workers
from odtk_ray.images.image_sizes import read_sizes
from odtk_ray.reporter import RunReporter
from odtk_ray.settings import ExifPolicy

# A header takes 0.1 ms, and the process of a task a second to start: up to this many headers are
# read by the driver itself, and this many by each call.
_PATHS_A_CALL = 5000


def workers_read_sizes(records: pa.Table) -> bool:
    """Return whether so many sizes are missing that `fill_sizes` has workers read them."""
    return len(_unknown(records)) > _PATHS_A_CALL


def fill_sizes(
    records: pa.Table, exif: ExifPolicy, workers: Workers, reporter: RunReporter
) -> pa.Table:
    """Fill in missing widths and heights from image headers; those that cannot be read stay 0.

    A file without a readable header is still planned: its worker reports what is wrong.

    Args:
        records: table of RECORD_SCHEMA.
        exif: what turns pictures.
        workers: read the headers, if there are many.
        reporter: told how many have been read.
    """
    unknown = _unknown(records)
    if len(unknown) == 0:
        return records
    widths, heights = (records[c].to_numpy().copy() for c in ("width", "height"))
    paths = records["path"].take(unknown).to_pylist()
    groups = [(paths[i : i + _PATHS_A_CALL], exif) for i in range(0, len(paths), _PATHS_A_CALL)]

    def tell(calls: int) -> None:
        done = min(calls * _PATHS_A_CALL, len(paths))
        reporter.stage(f"reading the sizes of the images: {done:,} of {len(paths):,}")

    many = len(groups) > 1
    parts = workers.map(read_sizes, groups, tell) if many else [read_sizes(paths, exif)]
    sizes = np.concatenate(parts)
    widths[unknown], heights[unknown] = sizes[:, 0], sizes[:, 1]
    for name, column in (("width", widths), ("height", heights)):
        position = records.schema.get_field_index(name)
        records = records.set_column(position, records.schema.field(name), pa.array(column))
    return records


def _unknown(records: pa.Table) -> NDArray[np.int64]:
    widths, heights = (records[c].to_numpy() for c in ("width", "height"))
    return np.flatnonzero((widths <= 0) | (heights <= 0))
