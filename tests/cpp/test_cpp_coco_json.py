"""Detections are written to the bytes that `odtk-ray infer` writes."""

import dataclasses
import json
import os

import numpy as np
import pytest
from synthetic import attempt_shard, detections, make_records, make_run_plan

from odtk_ray.config import InferConfig
from odtk_ray.datasets.classes import map_classes
from odtk_ray.records import Detections, ImageResult
from odtk_ray.run.outputs import write_outputs
from odtk_ray.shards.run_folder import RunFolder

NAMES = ["a.jpg", "b/ü 😀.png", 'q"uo\\te\n.jpg', "x"]
# Class names, and category ids, as models have them.
CLASSES = {
    "neither": (None, None),
    "names": (("cat", "dög", "x"), None),
    "ids": (None, (17, "a", -3)),
    "both": (("cat", "dög", "x"), (17, 'q"', 10**20)),
}
SIZE = (640, 480)
FORMATS = ["found.json", "found.results.json"]


def python_file(folder, name, found, names, classes, rotated):
    """What `odtk-ray infer` writes for a folder of images."""
    mapped = map_classes(3, *classes, None)
    plan = make_run_plan(range(len(found)), rotated=rotated)
    outputs = plan.outputs | {
        "category_ids": mapped.ids,
        "category_names": mapped.names,
        "categories": mapped.categories,
    }
    records = make_records(range(len(found)), names)
    run = RunFolder.create(
        str(folder / f"{name}.run"), dataclasses.replace(plan, outputs=outputs, records=records)
    )
    results = [
        ImageResult.failed("x") if one is None else ImageResult(None, *SIZE, one) for one in found
    ]
    for shard in run.plan.shards:
        run.commit(attempt_shard(run, shard, results))
    path = folder / f"python.{name}"
    write_outputs(InferConfig("m.pth", output=(str(path),)), run)
    return path.read_bytes()


def write_job(folder, found, names, classes, rotated, **more):
    """The same detections for the unit."""
    rows = [
        np.column_stack([one.scores, one.classes, one.boxes]).astype(float).tolist()
        if one is not None
        else []
        for one in found
    ]
    ids = [] if classes[1] is None else [json.dumps(i) for i in classes[1]]
    job = {
        "classes": 3,
        "rotated": rotated,
        "class_names": classes[0] or [],
        "category_ids": ids,
        "detections": rows,
        "file_names": names,
        "sizes": [[0, 0] if one is None else SIZE for one in found],
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job | more), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_files_have_pythons_bytes(units, tmp_path, name, rotated, classes):
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    found = [detections(rng, n, rotated=rotated) for n in (0, 60, 30)] + [None]
    path = tmp_path / name
    units("coco", path, write_job(tmp_path, found, NAMES, classes, rotated))
    assert path.read_bytes() == python_file(tmp_path, name, found, NAMES, classes, rotated)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("images", [1, 3])
def test_files_without_detections_have_pythons_bytes(units, tmp_path, name, images):
    rng = np.random.default_rng(0)
    found, names = [detections(rng, 0)] * images, NAMES[:images]
    path = tmp_path / name
    units("coco", path, write_job(tmp_path, found, names, CLASSES["both"], False))
    assert path.read_bytes() == python_file(tmp_path, name, found, names, CLASSES["both"], False)


def test_unusual_numbers_have_pythons_bytes(units, tmp_path):
    """Boxes of no size, beyond the picture, and with angles at the ends of their range."""
    turns = [(0, 1), (-0.0, 1), (0, -1), (-0.0, -1), (1, 0), (-1, 0), (0, 0), (1e-30, 1), (3, 4)]
    corners = [(0, 0, 0, 0), (-0.0, -1e-6, 1e9, 3.4e38), (-5, 7.1, -6, 7), (1e-7, 1e16, 1, 2e16)]
    boxes = np.array([[*box, *turn] for box in corners for turn in turns], np.float32)
    scores = np.array([1, 1e-7, 0.05, 5e-324] * len(turns), np.float32)
    found = [Detections(scores, boxes, np.zeros(len(boxes), np.int32))]
    for name in FORMATS:
        path = tmp_path / name
        units("coco", path, write_job(tmp_path, found, NAMES[:1], CLASSES["ids"], True))
        expected = python_file(tmp_path, name, found, NAMES[:1], CLASSES["ids"], True)
        assert path.read_bytes() == expected


def test_many_angles_have_pythons_bytes(units, tmp_path):
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    found, classes = [detections(rng, 3000, rotated=True)], CLASSES["neither"]
    assert len(found[0]) > 2400
    path = tmp_path / "found.results.json"
    units("coco", path, write_job(tmp_path, found, NAMES[:1], classes, True))
    expected = python_file(tmp_path, path.name, found, NAMES[:1], classes, True)
    assert path.read_bytes().split(b"\n") == expected.split(b"\n")


def test_nothing_is_left_of_a_file_that_is_not_finished(units, tmp_path):
    found = [detections(np.random.default_rng(0), 3)]
    job = write_job(tmp_path, found, NAMES[:1], CLASSES["both"], False, stopped=True)
    (tmp_path / "found.json").write_text("before", encoding="utf-8")
    assert units.error("coco", tmp_path / "found.json", job).startswith("stopped")
    assert (tmp_path / "found.json").read_text(encoding="utf-8") == "before"
    assert sorted(os.listdir(tmp_path)) == ["found.json", "job.json"]


def test_other_formats_are_refused(units, tmp_path):
    job = write_job(tmp_path, [], [], CLASSES["both"], False)
    text = units.error("coco", tmp_path / "found.csv", job)
    assert text.startswith("unknown output format: found.csv: the name must end in one of")
    assert os.listdir(tmp_path) == ["job.json"]
