"""Writes one shard's results as a Parquet file, and gives the driver a receipt for it."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, DTypeLike

from odtk_ray.records import RESULT_SCHEMA, ImageResult
from odtk_ray.shards.sightings import Sighting, check_sightings
from odtk_ray.storage import join, write_atomic
from odtk_ray.storage.retry import with_retries
from odtk_ray.typed_json import Range, WrongJsonError, parse_json, typed

SHARDS = "shards"  # sub-folder of the run folder

# A shard's file: shard, epoch, attempt.
_NAME = re.compile(r"([0-9]{6,12})-([0-9]{1,9})\.[0-9]{1,12}\.parquet")
_BY_DRIVER = 0  # as an attempt; those of workers begin with 1

_Number = Annotated[int, Range(0, 1 << 50)]


@dataclass(frozen=True)
class Receipt:
    """A worker's description of a shard file that it wrote.

    Attributes:
        shard: the shard's number.
        name: file name in `shards/`.
        sha256: of the file.
        rows: images in it.
        failed: images with an error.
        detections: detections in it.
        engine: key of the engine that made it.
        by_pillow: images that the CPU decoded although the run's decoder is the GPU's.
        sightings: what is odd about its pictures.
        committed_at: when the driver committed it, in seconds since 1970; 0 before.
    """

    shard: _Number
    name: str
    sha256: str
    rows: _Number
    failed: _Number
    detections: _Number
    engine: str
    by_pillow: _Number = 0
    sightings: tuple[Sighting, ...] = ()
    committed_at: Annotated[float, Range(0)] = field(default=0.0, compare=False)

    @property
    def taken_over(self) -> bool:
        """Whether the driver wrote the file, from the results of an earlier run."""
        return self.name.endswith(f".{_BY_DRIVER}.parquet")


def read_receipts(
    lines: Iterable[bytes], images: Sequence[int], counts_from: Callable[[int], int]
) -> list[tuple[int, Receipt]]:
    """Read the receipts that count, in the order of the journal, with the epoch of each.

    What a driver that was killed in mid-line left is passed over.

    Args:
        lines: of the journal.
        images: number of images in each shard of the plan.
        counts_from: returns the first epoch whose results of a shard count.

    Raises:
        WrongJsonError: no worker wrote a receipt for this plan; it says in which line.
    """
    found, records = [], sum(images)
    for number, line in enumerate(lines, 1):
        try:
            value = parse_json(line)
        except WrongJsonError:
            continue
        try:
            receipt = typed(value, Receipt)
            epoch = _check_receipt(receipt, images, records)
        except WrongJsonError as error:
            why = f"line {number} of its journal does not fit its plan: {error}"
            raise WrongJsonError(why) from error
        if epoch >= counts_from(receipt.shard):
            found.append((epoch, receipt))
    return found


def _check_receipt(receipt: Receipt, images: Sequence[int], records: int) -> int:
    """Return the epoch in which a receipt was written; raise WrongJsonError if no worker did."""
    shard = receipt.shard
    if shard >= len(images):
        raise WrongJsonError(f"shard is {shard}, and there are {len(images)}")
    if receipt.rows != (planned := images[shard]):
        raise WrongJsonError(f"rows is {receipt.rows}, and {planned} were planned")
    check_sightings(receipt.sightings, records)
    attempt = _NAME.fullmatch(receipt.name)
    if attempt is None or int(attempt[1]) != shard:
        raise WrongJsonError(f"name is {receipt.name[:40]!r}, which no file of shard {shard} has")
    return int(attempt[2])


def write_shard(
    folder: str,
    shard: int,
    attempt: str,
    rows: Sequence[tuple[int, ImageResult]],
    *,
    engine: str,
    digest: str,
) -> tuple[str, str]:
    """Write a shard's results, sorted by record index; return file name and SHA-256."""
    rows = sorted(rows, key=lambda row: row[0])
    results = [result for _, result in rows]
    found = [result.detections for result in results]
    offsets = _column(np.cumsum([0, *(len(d) for d in found)]), np.int32)
    # Flat, since failed images have no boxes of six numbers in a rotated run.
    ends = _column(np.cumsum([0, *(d.boxes.size for d in found)]), np.int32)
    scores, classes, boxes = (
        np.concatenate([getattr(d, column).reshape(-1) for d in found])
        for column in ("scores", "classes", "boxes")
    )
    columns = [
        _column([index for index, _ in rows], np.int64),
        _errors([result.error for result in results]),
        _column([result.width for result in results], np.int32),
        _column([result.height for result in results], np.int32),
        pa.ListArray.from_arrays(offsets, _column(scores, np.float32)),
        pa.ListArray.from_arrays(offsets, _column(classes, np.int32)),
        pa.ListArray.from_arrays(ends, _column(boxes, np.float32)),
    ]
    table = pa.Table.from_arrays(columns, schema=RESULT_SCHEMA)
    return _write(folder, shard, attempt, table, engine=engine, digest=digest)


def write_taken_over(
    folder: str, shard: int, epoch: int, table: pa.Table, *, engine: str, digest: str
) -> Receipt:
    """Write results of an earlier run, in all of which there is no failed image.

    Args:
        folder: the run folder.
        shard: number of the shard.
        epoch: of the driver that writes.
        table: of RESULT_SCHEMA, sorted by index.
        engine: key of the engine that made them.
        digest: of the plan.
    """
    attempt = f"{epoch}.{_BY_DRIVER}"
    name, sha256 = _write(folder, shard, attempt, table, engine=engine, digest=digest)
    detections = int(table["scores"].combine_chunks().value_lengths().to_numpy().sum())
    return Receipt(shard, name, sha256, len(table), 0, detections, engine)


def _write(
    folder: str, shard: int, attempt: str, table: pa.Table, *, engine: str, digest: str
) -> tuple[str, str]:
    about = {"odtk.plan": digest, "odtk.shard": str(shard), "odtk.engine": engine}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(about), buffer, compression="zstd")
    data = buffer.getvalue()
    name = f"{shard:06d}-{attempt}.parquet"
    path = join(folder, f"{SHARDS}/{name}")
    with_retries(lambda: write_atomic(path, data))
    return name, hashlib.sha256(data).hexdigest()


def _column(values: ArrayLike, dtype: DTypeLike) -> pa.Array:
    """Make an Arrow array without copying; pa.array would import pandas first, 0.2 s per worker."""
    flat = np.ascontiguousarray(values, dtype).reshape(-1)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)]
    )


def _errors(errors: Sequence[str | None]) -> pa.Array:
    if not any(errors):
        return pa.nulls(len(errors), pa.string())  # avoids pandas if no image failed
    return pa.array(errors, pa.string())
