from __future__ import annotations

import pyarrow as pa
import pytest
from synthetic import make_records, picture

from odtk_ray.cluster.local_workers import LocalWorkers
from odtk_ray.run import missing_sizes
from odtk_ray.run.missing_sizes import fill_sizes
from odtk_ray.worker.fleet import Fleet
from odtk_ray.worker.warm_up import Needs


@pytest.mark.parametrize("paths_a_call", [1000, 3])
def test_unknown_sizes_come_from_headers_and_known_ones_stay(
    tmp_path, monkeypatch, quiet, paths_a_call
):
    monkeypatch.setattr(missing_sizes, "_PATHS_A_CALL", paths_a_call)
    known, unknown = [(7, 9)] * 4, [(0, 0)] * 8
    for i in range(4, 10):
        picture(i, 20 + i, 30).save(tmp_path / f"{i}.png")
    (tmp_path / "10.png").write_bytes(b"no picture")  # and 11.png is missing
    names = [f"{i}.png" for i in range(12)]
    records = make_records(list(range(12)), names, known + unknown)
    column = records.schema.get_field_index("path")
    field = records.schema.field(column)
    paths = pa.array([str(tmp_path / name) for name in names], field.type)
    records = records.set_column(column, field, paths)
    filled = fill_sizes(records, "ignore", LocalWorkers(Fleet(1, False, 2), Needs()), quiet)
    said = [f"reading the sizes of the images: {n} of 8" for n in (3, 6, 8)]
    assert quiet.stages == (said if paths_a_call == 3 else [])
    assert filled.schema == records.schema
    assert filled["width"].to_pylist() == [7] * 4 + [20 + i for i in range(4, 10)] + [0, 0]
    assert filled["height"].to_pylist() == [9] * 4 + [30] * 6 + [0, 0]


def test_nothing_unknown_needs_no_ray(quiet):
    records = make_records([1, 2])
    workers = LocalWorkers(Fleet(1, False, 2), Needs())
    assert fill_sizes(records, "ignore", workers, quiet) is records
