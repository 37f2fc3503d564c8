from __future__ import annotations

import os

import numpy as np
import pytest
from synthetic import make_results, make_run, make_run_plan

from odtk_ray.errors import OdtkError
from odtk_ray.shards import merge
from odtk_ray.shards.merge import merge_shards
from odtk_ray.shards.run_folder import RunFolder


@pytest.mark.parametrize("n", [1, 31, 500])
@pytest.mark.parametrize("window", [7, 4096])
def test_every_image_once_and_in_record_order(tmp_path, monkeypatch, n, window):
    monkeypatch.setattr(merge, "_WINDOW", window)
    results = make_results(n, failed={0, n // 2})
    run = make_run(tmp_path / "run", list(range(n)), results)
    seen = 0
    for rows in merge_shards(run):
        m = len(rows.records)
        assert rows.records["index"].to_pylist() == list(range(seen, seen + m))
        for i in range(m):
            expected = results[seen + i]
            part = slice(rows.offsets[i], rows.offsets[i + 1])
            assert rows.results["error"][i].as_py() == expected.error
            np.testing.assert_array_equal(rows.scores[part], expected.detections.scores)
            np.testing.assert_array_equal(rows.classes[part], expected.detections.classes)
            # ODTK: x, y, x2 - x1 + 1, y2 - y1 + 1 in double precision from float32 corners.
            x1, y1, x2, y2 = expected.detections.boxes.astype(np.float64).T
            boxes = np.stack([x1, y1, x2 - x1 + 1, y2 - y1 + 1], axis=1)
            np.testing.assert_array_equal(rows.bbox[part], boxes)
        seen += m
    assert seen == n


def test_streams_are_as_few_as_the_input_sizes(tmp_path):
    run = make_run(tmp_path / "run", list(range(2000)), make_results(2000))
    # Four input sizes, each cut into shards of 32 with rising indices; leftovers are none, since
    # 500 images of each size make 125 launches of 4.
    assert len(run.plan.shards) == 64
    assert len(merge._chains(run)) == 4


def test_a_shard_that_was_never_committed_fails_the_run(tmp_path):
    plan = make_run_plan(list(range(40)))
    run = RunFolder.create(str(tmp_path / "run"), plan)
    with pytest.raises(OdtkError, match="cannot read the results of shard"):
        list(merge_shards(run))


def test_a_damaged_shard_file_fails_the_run(tmp_path):
    run = make_run(tmp_path / "run", list(range(40)), make_results(40))
    path = run.file(run.committed[0])
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(OdtkError, match="cannot read the results of shard 0"):
        list(merge_shards(run))


def test_rows_of_another_shard_fail_the_run(tmp_path):
    run = make_run(tmp_path / "run", list(range(400)), make_results(400))
    run.committed[0] = run.committed[1]
    with pytest.raises(OdtkError, match="incomplete"):
        list(merge_shards(run))
