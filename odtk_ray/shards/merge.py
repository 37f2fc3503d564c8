"""Merges shard files into one stream in record order, in constant memory.

The shards of one input size hold rising record indices, so chaining them gives a few sorted
streams. A window of record indices moves over all streams at once: the rows in the window are
collected and sorted, and must be exactly the window's records.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.errors import OdtkError
from odtk_ray.records import RESULT_SCHEMA, to_bbox
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage.retry import with_retries

# Records merged at a time: with 100 detections each their text takes 10 MB on its way out, and no
# step of it keeps the driver's other threads from the interpreter for more than a few ms.
_WINDOW = 256

# Returns the receipt of a shard; None if it was never committed.
Receipts = Callable[[int], Receipt | None]


@dataclass(frozen=True)
class MergedRows:
    """Consecutive records with their results.

    Attributes:
        records: table of RECORD_SCHEMA, m rows.
        results: table of RESULT_SCHEMA, the same m images.
        offsets: int64 [m + 1], where each image's detections start in the columns below.
        scores: float64 [k], float32 values.
        classes: int64 [k], class index.
        bbox: float64 [k, 4], xywh in pixels of the image; w and h count both end pixels, as
            ODTK writes them: x2 - x1 + 1 in double precision. Of a rotated model [k, 5], where
            theta follows.
    """

    records: pa.Table
    results: pa.Table
    offsets: NDArray[np.int64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]
    bbox: NDArray[np.float64]

    @property
    def rotated(self) -> bool:
        """Whether the boxes are rotated."""
        return bool(self.bbox.shape[1] == 5)

    @functools.cached_property
    def owners(self) -> NDArray[np.int64]:
        """The row of each detection's image, int64 [k]."""
        return np.repeat(np.arange(len(self.records)), np.diff(self.offsets))

    @functools.cached_property
    def segmentation(self) -> NDArray[np.float64]:
        """The corners of rotated boxes, float64 [k, 8], as ODTK writes them."""
        return corners(self.bbox).reshape(-1, 8)


def merge_shards(run: RunFolder, receipts: Receipts | None = None) -> Iterator[MergedRows]:
    """Yield all records of a run with their results, in record order, some hundred at a time.

    Args:
        run: a finished run, or one whose shards `receipts` waits for.
        receipts: called for one shard after the other; None uses the committed shards.

    Raises:
        OdtkError: an image is missing or is there twice.
    """
    start = 0
    for table in merged_results(run, receipts):
        records = run.plan.records.slice(start, len(table))
        yield _flatten(records, table, run.plan.settings.rotated)
        start += len(table)


def merged_results(run: RunFolder, receipts: Receipts | None = None) -> Iterator[pa.Table]:
    """Yield the results of a run, tables of RESULT_SCHEMA, in record order, some hundred at a time.

    Args:
        run: as for `merge_shards`.
        receipts: likewise.

    Raises:
        OdtkError: as `merge_shards`.
    """
    receipts = receipts or run.committed.get
    streams = [_Stream(run, chain, receipts) for chain in _chains(run)]
    total = len(run.plan.records)
    for start in range(0, total, _WINDOW):
        stop = min(start + _WINDOW, total)
        table = pa.concat_tables([part for s in streams for part in s.below(stop)])
        table = table.take(np.argsort(table["index"].to_numpy(), kind="stable"))
        if not np.array_equal(table["index"].to_numpy(), np.arange(start, stop)):
            raise OdtkError(
                f"the results of images {start:,} to {stop - 1:,} are incomplete",
                f"{len(table):,} rows for {stop - start:,} images",
                "the run folder was changed from outside: remove it and run again",
            )
        yield table.combine_chunks()


def _flatten(records: pa.Table, results: pa.Table, rotated: bool) -> MergedRows:
    scores, classes, boxes = (results[c].combine_chunks() for c in ("scores", "classes", "boxes"))
    counts = scores.value_lengths().to_numpy()
    rows = boxes.flatten().to_numpy().reshape(-1, 6 if rotated else 4)
    return MergedRows(
        records,
        results,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        scores.flatten().to_numpy().astype(np.float64),
        classes.flatten().to_numpy().astype(np.int64),
        to_bbox(rows),
    )


def _chains(run: RunFolder) -> list[list[int]]:
    """Arrange shards in as few chains of rising record indices as possible."""
    spans = sorted((int(s.rows.min()), int(s.rows.max()), s.number) for s in run.plan.shards)
    chains: list[list[int]] = []
    ends: list[int] = []
    for first, last, number in spans:
        free = next((i for i, end in enumerate(ends) if end < first), None)
        if free is None:
            chains.append([number])
            ends.append(last)
        else:
            chains[free].append(number)
            ends[free] = last
    return chains


class _Stream:
    """The rows of a chain of shards, in record order."""

    def __init__(self, run: RunFolder, chain: Sequence[int], receipts: Receipts) -> None:
        self._run = run
        self._receipts = receipts
        self._chain = list(reversed(chain))
        self._table = pa.Table.from_batches([], schema=RESULT_SCHEMA)

    def below(self, stop: int) -> Iterator[pa.Table]:
        """Yield the rows with index < stop that have not been yielded yet."""
        while True:
            if len(self._table) == 0:
                if not self._chain or self._first_index() >= stop:
                    return
                shard = self._chain.pop()
                self._table = _read_results(self._run, shard, self._receipts(shard))
            cut = int(np.searchsorted(self._table["index"].to_numpy(), stop))
            if cut == 0:
                return
            yield self._table.slice(0, cut)
            self._table = self._table.slice(cut)

    def _first_index(self) -> int:
        return int(self._run.plan.shards[self._chain[-1]].rows.min())


def failed_records(run: RunFolder) -> NDArray[np.int64]:
    """Return the indices of the records of a finished run whose image failed, int64 [n].

    Raises:
        OdtkError: a shard cannot be read.
    """
    found = [np.empty(0, np.int64)]
    for shard, receipt in run.committed.items():
        if receipt.failed:
            table = _read_results(run, shard, receipt)
            found.append(table["index"].filter(pc.is_valid(table["error"])).to_numpy())
    return np.concatenate(found)


def _read_results(run: RunFolder, shard: int, receipt: Receipt | None) -> pa.Table:
    try:
        if receipt is None:
            raise OSError("it was never committed")
        file = run.file(receipt)
        data = with_retries(lambda: storage.read_bytes(file))
        # Three times as fast as pq.read_table, which looks for a data set first.
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        return table.replace_schema_metadata(None).cast(RESULT_SCHEMA)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OdtkError(f"cannot read the results of shard {shard}", str(error)) from error
