"""Results of an earlier run in the folder of another, whose images are in another order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import Quiet, make_results, make_run

from odtk_ray.run.earlier_results import take_over_results
from odtk_ray.run.update_run import Update, UpdateCounts
from odtk_ray.shards.cut_shards import cut_update
from odtk_ray.shards.image_stamps import ImageStamps
from odtk_ray.shards.merge import merged_results
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.run_status import read_status

IMAGES = 1_100  # several windows of the merge, and shards of known results


def begin(path, earlier, rows):
    """A run of the earlier one's images in another order, of which those with -1 are new."""
    records = earlier.plan.records.take(np.where(rows < 0, 0, rows))
    records = records.set_column(0, records.schema.field(0), pa.array(np.arange(len(rows))))
    settings = earlier.plan.settings
    shards = cut_update(records, rows, settings.preprocessing, settings.launch_batch)
    run = RunFolder.create(str(path), replace(earlier.plan, records=records, shards=shards))
    stamps = ImageStamps(*np.zeros((4, len(rows)), np.int64))
    return run, Update(earlier, stamps, rows, UpdateCounts(0, 0, 0, 0, 0))


def found(run):
    return pa.concat_tables(merged_results(run)).to_pylist()


def test_what_is_no_longer_in_order_is_detected(tmp_path):
    """The earlier run was replaced by one with another order between a plan and its resume."""
    earlier = make_run(tmp_path / "old", list(range(IMAGES)), make_results(IMAGES))
    run, update = begin(tmp_path / "new", earlier, np.arange(IMAGES))
    take_over_results(run, replace(update, rows=update.rows[::-1].copy()), Quiet())
    assert run.images_done == 0


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("order", ["same", "mixed", "some", "repeated", "none"])
def test_results_follow_their_images(tmp_path, order, rotated):
    rng = np.random.default_rng(5)
    orders = {
        "same": np.arange(IMAGES),
        "mixed": rng.permutation(IMAGES),
        "some": np.sort(rng.choice(IMAGES, 700, replace=False)),
        "repeated": rng.integers(0, IMAGES, 700),
        "none": np.empty(0, np.int64),
    }
    known = orders[order].astype(np.int64)
    rows = np.insert(known, rng.integers(0, len(known) + 1, 40), -1)  # among new ones
    earlier = make_run(tmp_path / "old", list(range(IMAGES)), make_results(IMAGES), rotated=rotated)
    run, update = begin(tmp_path / "new", earlier, rows)
    take_over_results(run, update, Quiet())
    assert run.images_done == len(known)
    assert read_status(run.path).rate is None  # nobody has detected anything
    missing = np.concatenate([shard.rows for shard in run.missing_shards()])
    assert sorted(missing) == np.flatnonzero(rows < 0).tolist()
    again = RunFolder.reopen(run.path)
    again.take_over()
    assert again.committed == run.committed
    before = found(earlier)
    for number, receipt in run.committed.items():
        shard = run.plan.shards[number]
        expected = [before[rows[row]] | {"index": int(row)} for row in sorted(shard.rows)]
        assert pq.read_table(run.file(receipt)).to_pylist() == expected
        assert receipt.detections == sum(len(row["scores"]) for row in expected)
