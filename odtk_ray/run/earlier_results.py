"""Takes the results of an earlier run over into the folder of the run that updates it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray.errors import OdtkError
from odtk_ray.plural import counted
from odtk_ray.records import RESULT_SCHEMA
from odtk_ray.reporter import RunReporter
from odtk_ray.run.update_run import Update
from odtk_ray.shards.cut_shards import Shard
from odtk_ray.shards.merge import merged_results
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import write_taken_over


def take_over_results(run: RunFolder, update: Update, reporter: RunReporter) -> None:
    """Commit the shards of a run whose results are known, as if a worker had delivered them.

    A run that was killed meanwhile goes on where it was; what the earlier run has not any more is
    detected.

    Args:
        run: which this driver has taken over.
        update: of its records.
        reporter: told what is done.

    Raises:
        OdtkError: a result cannot be read or written, or the run has a newer driver.
    """
    if not (shards := _known_shards(run, update)):
        return
    reporter.stage(f"taking over the results of {counted(sum(map(len, shards)), 'image')}")
    indices = np.concatenate([shard.rows for shard in shards])
    rows = _Rows(_known_results(update, indices))
    engine = next(iter(update.earlier.committed.values())).engine
    try:
        for shard in shards:
            table = rows.take(len(shard)).take(np.argsort(shard.rows))
            about = {"engine": engine, "digest": run.digest}
            run.commit(write_taken_over(run.path, shard.number, run.epoch, table, **about))
    except OSError as error:
        raise OdtkError(
            f"cannot write to {run.path}",
            str(error.strerror or error),
            "what is done is kept: make room and continue with --resume",
        ) from error


def _known_shards(run: RunFolder, update: Update) -> list[Shard]:
    """Return the missing shards whose results can be read in one go, in the earlier order.

    These are all whose results are known, unless the earlier run was replaced since the plan.
    """
    known = [shard for shard in run.missing_shards() if update.takes_over(shard)]
    shards, last = [], 0
    for shard in sorted(known, key=lambda shard: int(update.rows[shard.rows[0]])):
        rows = update.rows[shard.rows]
        if rows[0] >= last and (np.diff(rows) >= 0).all():
            shards.append(shard)
            last = rows[-1]
    return shards


def _known_results(update: Update, indices: NDArray[np.int64]) -> Iterator[pa.Table]:
    """Yield the earlier results of some records, under their indices now, in the earlier order."""
    wanted, start, done = update.rows[indices], 0, 0
    for table in merged_results(update.earlier):
        start, begin = start + len(table), start
        end = int(np.searchsorted(wanted, start))
        part = table.take(wanted[done:end] - begin)
        index = RESULT_SCHEMA.field("index")
        yield part.set_column(0, index, pa.array(indices[done:end]))
        done = end


class _Rows:
    """The rows of some tables, taken one number after the other."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._left = pa.Table.from_batches([], schema=RESULT_SCHEMA)

    def take(self, count: int) -> pa.Table:
        parts = [self._left]
        while sum(map(len, parts)) < count:
            parts.append(next(self._tables))
        rows = pa.concat_tables(parts)
        self._left = rows.slice(count)
        return rows.slice(0, count).combine_chunks()
