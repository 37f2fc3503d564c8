"""Other libraries read what a run writes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from synthetic import commit_shard, make_results, make_run_plan

from odtk_ray.config import InferConfig
from odtk_ray.datasets.classes import map_classes
from odtk_ray.run.outputs import write_outputs
from odtk_ray.shards.run_folder import RunFolder

COUNT, FAILED = 20, 4


def write(tmp_path, rotated):
    """Writes the output of a run without an annotation file, by a model of unnamed classes."""
    plan = make_run_plan(range(COUNT), rotated=rotated)
    mapped = map_classes(3, None, None, None)
    outputs = plan.outputs | {"categories": mapped.categories, "category_names": mapped.names}
    run = RunFolder.create(str(tmp_path / "run"), replace(plan, outputs=outputs))
    results = make_results(COUNT, seed=3, failed={FAILED}, rotated=rotated)
    for shard in run.plan.shards:
        commit_shard(run, shard, results)
    path = tmp_path / "found.json"
    write_outputs(InferConfig("m.pth", output=(str(path),)), run)
    return path, results


@pytest.fixture(params=[False, True], ids=["upright", "rotated"])
def written(request, tmp_path):
    return write(tmp_path, request.param)


@pytest.fixture
def upright(tmp_path):
    return write(tmp_path, False)


def test_pycocotools_reads_it_as_annotations(written):
    path, results = written
    coco = COCO(str(path))
    assert len(coco.anns) == sum(len(result.detections) for result in results) > 20
    for image, result in enumerate(results):
        entries = coco.loadAnns(coco.getAnnIds(imgIds=[image]))
        boxes = result.detections.boxes.astype(float)
        sides = boxes[:, 2:4] - boxes[:, :2] + 1
        assert [entry["area"] for entry in entries] == sides.prod(axis=1).tolist()
    assert [coco.cats[k]["name"] for k in (0, 1, 2)] == ["class 0", "class 1", "class 2"]


def test_pycocotools_evaluates_it_against_itself(written):
    """An id of 0, which pycocotools takes for no match, would cost a detection."""
    path, results = written
    kind = "segm" if results[0].detections.boxes.shape[1] == 6 else "bbox"
    truth = COCO(str(path))
    truth.dataset["info"] = {}
    evaluation = COCOeval(truth, truth.loadRes(truth.dataset["annotations"]), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert math.isclose(evaluation.stats[0], 1.0)


def test_supervision_reads_upright_boxes(upright, tmp_path):
    path, results = upright
    for entry in json.loads(path.read_text(encoding="utf-8"))["images"]:
        Image.new("RGB", (640, 480)).save(tmp_path / entry["file_name"])
    found = supervision.DetectionDataset.from_coco(str(tmp_path), str(path))
    assert found.classes == ["class 0", "class 1", "class 2"]
    assert len(found) == COUNT
    for (_, _, detections), result in zip(found, results, strict=True):
        assert len(detections) == len(result.detections)
        if len(detections):
            x1y1, x2y2 = np.split(result.detections.boxes, 2, axis=1)
            np.testing.assert_allclose(detections.xyxy, np.hstack([x1y1, x2y2 + 1]), rtol=1e-5)
            assert detections.class_id.tolist() == result.detections.classes.tolist()
