"""Cuts records into shards: a pure function of records and settings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray.images.resize import network_sizes
from odtk_ray.settings import Preprocessing

# Simulated wall over ideal, two images deep: two workers 5x apart and 5,000 images gave 1.08 at 64
# images a shard and 1.70 at 512; eight equal workers 1.02 at 128 and 1.64 at 512. So about 128
# shards a run, within limits that keep a shard's file and its loss after a crash small.
_SHARDS_WANTED, _SMALLEST, LARGEST = 128, 32, 512

# Runs of this many shards have been measured (docs/large_runs.md); more images make larger shards.
_MOST_SHARDS = 20_000

# A GPU is through with a launch in 40 ms, in which a shard of one launch would have to be written,
# committed and replaced: an H200 idled 6% of the time between launches of ten shapes.
GPU_LAUNCHES = 4


@dataclass(frozen=True)
class Shard:
    """A piece of work for one worker.

    Attributes:
        number: 0-based, in dispatch order.
        rows: int64 [n], record indices in the order in which they are processed.
    """

    number: int
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def shard_size(images: int, launch_batch: int) -> int:
    """Return the images per shard: n / 128 rounded up to 32, within 32 to 512, to whole launches.

    Beyond 10 million images it is n / 20,000.
    """
    size = -(-images // _SHARDS_WANTED)
    size = min(max(-(-size // 32) * 32, _SMALLEST), _largest(images))
    return -(-size // launch_batch) * launch_batch


def tiled_shard_size(images: int) -> int:
    """Return the images per shard of tiled runs, where one image can fill several launches."""
    return min(max(-(-images // _SHARDS_WANTED), 1), _largest(images))


def _largest(images: int) -> int:
    return max(LARGEST, -(-images // _MOST_SHARDS))


def cut_shards(
    records: pa.Table, prep: Preprocessing, launch_batch: int, launches: int = 1
) -> list[Shard]:
    """Cut records into shards.

    Images of one padded network size run together, in record order. Images that do not fill a
    launch of their size, and images of unknown size, share mixed shards. Shards are dispatched in
    the order of their first records, so that the merge can follow them.

    Args:
        records: table of RECORD_SCHEMA, or any table with `width` and `height`.
        prep: determines the network size of each image.
        launch_batch: images in one engine call.
        launches: least number of launches that fit into a shard; not used for tiled images.
    """
    widths, heights = (records[c].to_numpy().astype(np.int64) for c in ("width", "height"))
    padded_w, padded_h = network_sizes(widths, heights, prep)
    shape = padded_h.astype(np.int64) << 32 | padded_w.astype(np.int64)  # 0 when unknown
    if prep.tile is None:
        size = max(shard_size(len(records), launch_batch), launches * launch_batch)
        unit = launch_batch
    else:
        size, unit = tiled_shard_size(len(records)), 1
    pieces: list[NDArray[np.int64]] = []
    rest: list[NDArray[np.int64]] = []
    for value in np.unique(shape).tolist():
        rows = np.flatnonzero(shape == value).astype(np.int64)
        whole = len(rows) - len(rows) % unit if value else 0
        pieces += [rows[i : min(i + size, whole)] for i in range(0, whole, size)]
        rest.append(rows[whole:])
    pieces += _mixed(rest, size)
    return _numbered(pieces)


def cut_update(
    records: pa.Table,
    earlier: NDArray[np.int64],
    prep: Preprocessing,
    launch_batch: int,
    launches: int = 1,
) -> list[Shard]:
    """Cut records into shards of which each is detected in, or known from an earlier run, whole.

    The known ones lie in the earlier run's order, so that its results are read once.

    Args:
        records: as for `cut_shards`.
        earlier: int64 [n], index of the record whose result each one takes over; -1 for none.
        prep: as for `cut_shards`.
        launch_batch: likewise.
        launches: likewise.
    """
    known, new = np.flatnonzero(earlier >= 0), np.flatnonzero(earlier < 0)
    known = known[np.argsort(earlier[known], kind="stable")]
    size = _largest(len(known))
    pieces = [known[i : i + size] for i in range(0, len(known), size)]
    if len(new):
        cut = cut_shards(records.take(new), prep, launch_batch, launches)
        pieces += [new[shard.rows] for shard in cut]
    return _numbered(pieces)


def _numbered(pieces: list[NDArray[np.int64]]) -> list[Shard]:
    """Make shards of pieces, in the order of their first records."""
    pieces.sort(key=lambda rows: int(rows.min()))
    return [Shard(number, rows) for number, rows in enumerate(pieces)]


def _mixed(rest: list[NDArray[np.int64]], size: int) -> list[NDArray[np.int64]]:
    """Make shards of at most `size` rows from parts that are kept whole where possible.

    A part of one network size that is split would fill two launches in part.
    """
    pieces: list[NDArray[np.int64]] = []
    mixed: list[NDArray[np.int64]] = []
    for part in (rows[i : i + size] for rows in rest for i in range(0, len(rows), size)):
        if mixed and sum(map(len, mixed)) + len(part) > size:
            pieces.append(np.concatenate(mixed))
            mixed = []
        mixed.append(part)
    return [*pieces, np.concatenate(mixed)] if mixed else pieces


def network_shapes(records: pa.Table, prep: Preprocessing) -> dict[tuple[int, int], int]:
    """Count the images of each planned network input (height, width); largest input first.

    Images of unknown size are not in it.
    """
    widths, heights = (records[c].to_numpy().astype(np.int64) for c in ("width", "height"))
    padded_w, padded_h = network_sizes(widths, heights, prep)
    sizes, counts = np.unique(np.stack([padded_h, padded_w], axis=1), axis=0, return_counts=True)
    shapes = {(int(h), int(w)): int(n) for (h, w), n in zip(sizes, counts, strict=True) if h}
    return dict(sorted(shapes.items(), key=lambda item: (-item[0][0] * item[0][1], item[0])))
