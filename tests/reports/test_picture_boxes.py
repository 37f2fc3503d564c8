"""The boxes over pictures against the analysis that they are of."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from scenes import write_scene

import odtk_ray
from odtk_ray.evaluation.status import KINDS, MISSED
from odtk_ray.reports.content import Detector, select_rows
from odtk_ray.reports.picture_boxes import PictureBoxes


def detector_of(evaluation, letter=""):
    return Detector("d", letter, evaluation.analysis, partial(select_rows, evaluation.table))


@pytest.mark.parametrize("seed", range(30, 45))
def test_what_is_shown_at_first_is_what_the_analysis_counts(tmp_path, seed):
    detections, options = write_scene(tmp_path, seed)
    evaluation = odtk_ray.evaluate(detections, **options)
    images = np.arange(len(evaluation.wanted.images))[::-1]
    found = PictureBoxes(evaluation.wanted.truth, [detector_of(evaluation)], images)
    for image in images.tolist():
        shown = Counter(box.kind for box in found.of_image(image) if box.shown)
        counts = evaluation.analysis.images[image]
        expected = {
            "right": counts[0],
            "wrong": counts[1 : KINDS.index("missed")].sum(),
            "missed": counts[MISSED],
        }
        assert {kind: shown[kind] for kind in expected} == expected


@pytest.mark.parametrize("seed", range(30, 40))
def test_two_detectors_share_what_both_find(tmp_path, seed):
    """A detector beside itself is right in both, or in neither; beside nothing it is alone."""
    detections, options = write_scene(tmp_path, seed)
    evaluation = odtk_ray.evaluate(detections, **options)
    (tmp_path / "none.json").write_text("[]", encoding="utf-8")
    nothing = odtk_ray.evaluate(str(tmp_path / "none.json"), **options)
    images = np.arange(len(evaluation.wanted.images))
    truth = evaluation.wanted.truth
    alone = PictureBoxes(truth, [detector_of(evaluation)], images)
    twice = PictureBoxes(
        truth, [detector_of(evaluation, "a"), detector_of(evaluation, "b")], images
    )
    beside = PictureBoxes(truth, [detector_of(nothing, "a"), detector_of(evaluation, "b")], images)
    for image in images.tolist():
        one = Counter(box.kind for box in alone.of_image(image) if box.shown)
        two = Counter(box.kind for box in twice.of_image(image) if box.shown)
        rest = Counter(box.kind for box in beside.of_image(image) if box.shown)
        assert two["both"] == 2 * one["right"]
        assert two["right-a"] == two["right-b"] == 0
        assert two["wrong-a"] == two["wrong-b"] == rest["wrong-b"] == one["wrong"]
        assert rest["right-b"] == one["right"]
        assert rest["right-a"] == rest["both"] == rest["wrong-a"] == 0
        assert two["missed"] == rest["missed"] == one["missed"]


def test_paths_are_the_outlines(tmp_path):
    dataset = {
        "images": [{"id": 1, "file_name": "0.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], "area": 1200},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [60, 60, 20, 20], "area": 400},
        ],
    }
    found = [
        {"image_id": 1, "category_id": 1, "bbox": [10.25, 20, 30, 40], "score": 0.5},
        {"image_id": 1, "category_id": 1, "bbox": [60, 60, 20, 20], "score": 0.4},
    ]
    detections, options = write_scene(tmp_path, dataset=dataset, found=found)
    evaluation = odtk_ray.evaluate(detections, **options)
    boxes = PictureBoxes(
        evaluation.wanted.truth, [detector_of(evaluation)], np.array([0])
    ).of_image(0)
    assert [(box.kind, box.path, box.score) for box in boxes] == [
        ("missed", "M10,20L40,20L40,60L10,60z", 0.5),
        ("missed", "M60,60L80,60L80,80L60,80z", None),
        ("wrong", "M60,60L80,60L80,80L60,80z", 0.4),
        ("right", "M10.2,20L40.2,20L40.2,60L10.2,60z", 0.5),
    ]
    assert boxes[2].text == "cat 0.40: wrong class, it is dog, IoU 1.00"


def test_rotated_boxes_are_turned(tmp_path):
    dataset = {
        "images": [{"id": 1, "file_name": "0.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [30, 40, 41, 21, np.pi / 2],
             "area": 800}
        ],
    }  # fmt: skip
    found = [{"image_id": 1, "category_id": 1, "bbox": [30, 40, 41, 21, np.pi / 2], "score": 0.5}]
    detections, options = write_scene(tmp_path, dataset=dataset, found=found)
    evaluation = odtk_ray.evaluate(detections, rotated_bbox=True, **options)
    boxes = PictureBoxes(
        evaluation.wanted.truth, [detector_of(evaluation)], np.array([0])
    ).of_image(0)
    # The centre is (50, 50); 40 by 20 pixels from corner to corner become 20 by 40.
    assert [box.kind for box in boxes] == ["missed", "right"]
    assert {box.path for box in boxes} == {"M60,30L40,30L40,70L60,70z"}
