"""What rotated detections are worth: against figures that are known beforehand."""

import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from training.angles import long_sides, report_angles

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import Category, GroundTruthBuilder
from odtk_ray.datasets.rotated_boxes import corners

CATEGORIES = [Category(1, "ship"), Category(2, "plane")]


def draw(seed, images=3, boxes=20):
    """Boxes in rows, far from each other."""
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(images, size=boxes))
    category = rng.integers(2, size=boxes)
    w = rng.uniform(40, 80, boxes)
    h = w / rng.uniform(1.5, 6, boxes)
    place = np.arange(boxes) * 200.0
    bbox = np.stack([place, place % 700, w, h, rng.uniform(-math.pi, math.pi, boxes)], axis=1)
    return image, category, bbox


def truth_of(image, category, bbox, crowd=()):
    builder = GroundTruthBuilder({str(i): i for i in range(9)}, {"1": 0, "2": 1}, rotated=True)
    builder.add(
        {
            "image_id": int(i),
            "category_id": int(c) + 1,
            "bbox": b.tolist(),
            "segmentation": [corners(b[None]).ravel().tolist()],
            "area": float(b[2] * b[3]),
            "iscrowd": int(n in crowd),
        }
        for n, (i, c, b) in enumerate(zip(image, category, bbox, strict=True))
    )
    return builder.build()


def report(drawn, bbox, score=None, images=3, crowd=()):
    image, category, _ = drawn
    score = np.linspace(0.9, 0.5, len(image)) if score is None else score
    table = DetectionTable(image, category, score, bbox)
    return report_angles(truth_of(*drawn, crowd), CATEGORIES, table, images)


def test_detections_that_are_the_truth():
    drawn = draw(0)
    found = report(drawn, drawn[2])
    assert found.metrics.stats["AP"] == pytest.approx(1)
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.matches == 20
    assert found.unturned.stats["AP50"] < 0.8


@given(st.integers(0, 1000), st.floats(-3, 3))
@examples(20)
def test_the_error_is_the_turn_whatever_the_description(seed, degrees):
    drawn = draw(seed)
    bbox = drawn[2].copy()
    bbox[:, 4] += math.radians(degrees)
    rng = np.random.default_rng(seed)
    half = rng.random(20) < 0.5
    bbox[half, 4] += math.pi
    swapped = rng.random(20) < 0.5
    x, y, w, h, theta = bbox[swapped].T
    quarter = [x + (w - h) / 2, y + (h - w) / 2, h, w, theta + math.pi / 2]
    bbox[swapped] = np.stack(quarter, axis=1)
    found = report(drawn, bbox)
    assert found.matches == 20
    assert found.error == pytest.approx(abs(degrees), abs=1e-6)
    # What the angles are worth depends on the description, since theta is what is set to 0
    flat = report(drawn, bbox * [1, 1, 1, 1, 0])
    assert found.unturned == flat.metrics


def test_the_error_is_a_median_over_matches_only():
    drawn = draw(1)
    bbox = drawn[2].copy()
    bbox[:, 4] += np.radians([1.0] * 7 + [2.0] * 6 + [80.0] * 7)
    found = report(drawn, bbox)
    # Those turned by 80 degrees do not reach an IoU of 0.5, unless they are short: none is here
    kept = found.matches
    assert 13 <= kept < 20
    assert found.error == pytest.approx(1.0 if kept == 13 else found.error)
    assert found.metrics.stats["AP50"] < 0.9


def test_the_better_detection_takes_the_box():
    drawn = draw(2, images=1, boxes=1)
    bbox = np.repeat(drawn[2], 2, axis=0)
    bbox[:, 4] += np.radians([2.0, 0.0])
    twice = tuple(np.repeat(column, 2, axis=0) for column in drawn[:2])
    table = DetectionTable(*twice, np.array([0.9, 0.8]), bbox)
    found = report_angles(truth_of(*drawn), CATEGORIES, table, 1)
    assert found.matches == 1
    assert found.error == pytest.approx(2, abs=1e-6)


def test_classes_images_and_crowds_are_kept_apart():
    drawn = draw(3)
    image, category, bbox = drawn
    for wrong in ((image, 1 - category, bbox), ((image + 1) % 3, category, bbox)):
        order = np.argsort(wrong[0], kind="stable")
        table = DetectionTable(*(c[order] for c in wrong[:2]), np.full(20, 0.5), bbox[order])
        assert report_angles(truth_of(*drawn), CATEGORIES, table, 3).matches == 0
    assert report(drawn, bbox, crowd={0, 5}).matches == 18


def test_without_detections():
    drawn = draw(4)
    nothing = DetectionTable(*(np.empty(0, np.int64),) * 2, np.empty(0), np.empty((0, 5)))
    found = report_angles(truth_of(*drawn), CATEGORIES, nothing, 3)
    assert (found.matches, found.error) == (0, None)
    assert found.figures()["AP50"] == 0


def test_rows_need_no_order():
    drawn = draw(5)
    score = np.linspace(0.9, 0.5, 20)
    order = np.random.default_rng(0).permutation(20)
    shuffled = DetectionTable(drawn[0][order], drawn[1][order], score[order], drawn[2][order])
    assert report_angles(truth_of(*drawn), CATEGORIES, shuffled, 3) == report(
        drawn, drawn[2], score
    )


def test_long_sides_by_hand():
    ring = [[0, 0, 1, 1, 3, 5]]  # the longest edge goes from (3, 5) to (0, 0)
    builder = GroundTruthBuilder({"0": 0}, {"1": 0}, rotated=True)
    base = {"image_id": 0, "category_id": 1, "area": 1}
    builder.add([base | {"segmentation": ring}, base | {"bbox": [0, 0, 5, 21, 0.25]}])
    found = long_sides(builder.build().polygons) % math.pi
    assert found.tolist() == pytest.approx([math.atan2(5, 3), math.pi / 2 + 0.25])


def test_truth_without_outlines_is_refused():
    builder = GroundTruthBuilder({"0": 0}, {"1": 0})
    nothing = DetectionTable(*(np.empty(0, np.int64),) * 2, np.empty(0), np.empty((0, 5)))
    with pytest.raises(ValueError, match="outlines"):
        report_angles(builder.build(), CATEGORIES, nothing, 1)
