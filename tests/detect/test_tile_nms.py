"""The sweep over the boxes of all tiles keeps what `ops.nms` keeps, by the IoUs of `ops`."""

import math

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.detect import tile_nms as module
from odtk_ray.detect import tile_overlaps
from odtk_ray.detect.tile_nms import survivors
from odtk_ray.ops import rotated as ops_rotated
from odtk_ray.ops.boxes import areas, iou
from odtk_ray.ops.nms import nms
from odtk_ray.records import Detections


def draw(seed, count, classes, rotated, extent):
    """Seeded boxes in clusters, ties among their scores, some inverted or without a pixel."""
    g = np.random.default_rng(seed)
    centres = (g.random((count, 2)) * extent / 20).round() * 20 + g.normal(size=(count, 2)) * 2
    sides = g.random((count, 2)) * 30 + [20.0, 6.0]
    sides[g.random(count) < 0.05] = -9
    sides[g.random(count) < 0.05] = -1
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    if rotated:
        theta = g.random((count, 1)) * math.tau
        some = g.random(count) < 0.5
        theta[some] = (theta[some] * 8 / math.pi).round() * math.pi / 8
        boxes = np.concatenate([boxes, np.sin(theta), np.cos(theta)], axis=1)
    scores = np.maximum(g.random(count, np.float32), np.float32(0.01))
    scores[g.random(count) < 0.3] = 0.5
    labels = g.integers(classes, size=count, dtype=np.int32)
    return Detections(scores, boxes.astype(np.float32), labels)


def assert_same(found, **options):
    columns = found.scores, found.boxes, found.classes
    kept = survivors(found, **options)
    tensors = [torch.from_numpy(column)[None] for column in columns]
    expected = nms(*tensors, detections=len(found) + 1, **options)
    used = expected[0][0] > 0
    for column, wanted in zip(columns, expected, strict=True):
        np.testing.assert_array_equal(column[kept], wanted[0][used])


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 80),
    classes=st.sampled_from([1, 4]),
    rotated=st.booleans(),
    threshold=st.sampled_from([0.1, 0.5, 0.9]),
    own_angles=st.booleans(),
)
@examples(150)
def test_the_same_boxes_in_the_same_order(seed, count, classes, rotated, threshold, own_angles):
    found = draw(seed, count, classes, rotated, 150.0)
    assert_same(found, threshold=threshold, own_angles=own_angles)


@pytest.mark.parametrize("rotated", [False, True])
def test_pairs_by_blocks(monkeypatch, rotated):
    monkeypatch.setattr(module, "_PAIRS", 50)
    assert_same(draw(3, 400, 3, rotated, 400.0), threshold=0.5)


@pytest.mark.filterwarnings("error")
def test_boxes_without_a_union_raise_no_warning():
    found = draw(4, 40, 1, False, 60.0)
    found.boxes[:20] = [1e25, 1e25, 9, 9]
    found.boxes[20:30] = [5, 5, 4, 4]
    assert_same(found, threshold=0.5)


@pytest.mark.parametrize("count", [0, 1, 3, 8, 9, 20_001])
def test_overlaps_are_those_of_ops_to_the_bit(count):
    """Whatever the count: a sum in another order would differ in the last bits."""
    pair = [draw(seed, count, 1, True, 60.0).boxes for seed in (count, count + 1)]
    planes = [np.ascontiguousarray(boxes.T, np.float64) for boxes in pair]
    tensors = [torch.from_numpy(boxes).double() for boxes in pair]
    for name in ("rotated_iou", "same_angle_iou"):
        expected = getattr(ops_rotated, name)(*tensors).numpy()
        np.testing.assert_array_equal(getattr(tile_overlaps, name)(*planes), expected)
    first, second = (torch.from_numpy(boxes[:, :4]) for boxes in pair)
    expected = iou(first, areas(first), second, areas(second)).numpy()
    with np.errstate(all="ignore"):
        found = tile_overlaps.box_iou(*(np.ascontiguousarray(boxes.T[:4]) for boxes in pair))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
