"""Matching two runs' detections, and the check that tells a good export from a bad one."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from PIL import Image

from odtk_ray.errors import UsageError
from odtk_ray.exports.check.check_export import CheckResult
from odtk_ray.exports.check.compare_detections import check_pictures, compare, match
from odtk_ray.exports.check.runners import open_checkpoint, open_onnx
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.onnx.write_graph import describe_export, to_onnx
from odtk_ray.exports.traced_network import trace_checkpoint
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.records import Detections
from odtk_ray.settings import Postprocessing


def found(*rows):
    """Rows are (score, x1, class): boxes of 100 x 100 pixels at (x1, 0)."""
    boxes = np.array([[x, 0, x + 99, 99] for _, x, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([s for s, _, _ in rows], np.float32)
    return Detections(scores, boxes, np.array([c for _, _, c in rows], np.int32))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([], [], (0, 0)),
        ([(0.9, 0, 0)], [], (0, 1)),
        ([(0.9, 0, 0)], [(0.8, 0, 0)], (2, 2)),
        ([(0.9, 0, 0)], [(0.8, 0, 1)], (0, 2)),
        # Shifted by 5 of 100 pixels: 95 / 105 = 0.905; by 6: 94 / 106 = 0.887.
        ([(0.9, 0, 0)], [(0.8, 5, 0)], (2, 2)),
        ([(0.9, 0, 0)], [(0.8, 6, 0)], (0, 2)),
        # A partner below 0.3 serves, and is not counted.
        ([(0.31, 0, 0)], [(0.29, 0, 0)], (1, 1)),
        ([(0.2, 0, 0)], [(0.29, 0, 0)], (0, 0)),
        # One to one: the nearer of two takes the only partner.
        ([(0.9, 2, 0), (0.8, 1, 0)], [(0.7, 0, 0)], (2, 3)),
    ],
)
def test_match(one, other, expected):
    assert match(found(*one), found(*other)) == expected
    assert match(found(*other), found(*one)) == expected


def turned(*rows):
    """Rows are (score, x1, theta): boxes whose corners are 99 x 19 apart, turned about (x1, 0)."""
    boxes = [[x - 49.5, -9.5, x + 49.5, 9.5, math.sin(t), math.cos(t)] for _, x, t in rows]
    scores = np.array([s for s, _, _ in rows], np.float32)
    shape = (-1, 6)
    return Detections(
        scores, np.array(boxes, np.float32).reshape(shape), np.zeros(len(rows), np.int32)
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([], [(0.9, 0, 0)], (0, 1)),
        ([(0.9, 0, 0.3)], [(0.8, 0, 0.3)], (2, 2)),
        ([(0.9, 0, 0.3)], [(0.8, 0, 0.3 + math.pi)], (2, 2)),  # the same outline
        # Moved across by 1 of 19: 18 / 20 = 0.9; along by 5 of 99: 94 / 104 = 0.904, by 6: 0.886.
        ([(0.9, 0, 0)], [(0.8, 5, 0)], (2, 2)),
        ([(0.9, 0, 0)], [(0.8, 6, 0)], (0, 2)),
        ([(0.9, 0, math.pi / 2)], [(0.8, 0.99, math.pi / 2)], (2, 2)),
        ([(0.9, 0, math.pi / 2)], [(0.8, 1.01, math.pi / 2)], (0, 2)),
        ([(0.9, 0, 0)], [(0.8, 0, math.pi / 2)], (0, 2)),  # the same box, crossed
    ],
)
def test_rotated_boxes_match_by_their_outlines(one, other, expected):
    assert match(turned(*one), turned(*other)) == expected
    assert match(turned(*other), turned(*one)) == expected


def test_odd_boxes_match_themselves_or_nothing():
    """Clipping can leave a box inverted; one that is not finite has no overlap."""
    boxes = np.array([[90, 0, 20, 50], [np.inf, 0, 1, 1], [np.nan, 0, 1, 1]], np.float32)
    scores = np.full(3, 0.9, np.float32)
    for rows in (boxes, np.hstack([boxes, [[0.6, 0.8]] * 3]).astype(np.float32)):
        for classes in ([0, 1, 2], [2, 1, 0]):  # the odd ones behind the other, and before it
            odd = Detections(scores, rows, np.array(classes, np.int32))
            assert match(odd, odd) == (2, 6)


@pytest.fixture(scope="module", params=["checkpoint", "ranked_rotated"])
def exported(request):
    loaded = load_checkpoint(request.getfixturevalue(request.param))
    about = describe_export(loaded, (96, 128), Postprocessing())
    return loaded, about, to_onnx(trace_checkpoint(loaded), about)


def checked(exported, model, folder, reference=True):
    """A model, saved, in ONNX Runtime against the checkpoint in PyTorch."""
    loaded, about, _ = exported
    path, pictures = str(folder / "m.onnx"), check_pictures(None, about.size, ImageLists())
    onnx.save(model, path)
    with open_onnx(path, about, 2) as one, open_checkpoint(loaded, about, 2) as other:
        return compare(one, other if reference else None, about, pictures, made_up=True)


def changed(model, name, change):
    """The model with one of its weights changed."""
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    (weight,) = (tensor for tensor in broken.graph.initializer if tensor.name == name)
    array = change(onnx.numpy_helper.to_array(weight)).astype(np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(array, name))
    return broken


def test_a_good_export_matches(exported, tmp_path):
    check = checked(exported, exported[2], tmp_path)
    assert check.counted > 20
    assert check.share >= 0.99
    assert check.finite
    assert check.scores < 1e-3
    assert check.deltas < 1e-3
    line = check.line()
    assert line.startswith("checked against PyTorch on 2 made-up pictures: scores within ")
    assert f"{check.matched} of {check.counted} detections matched" in line


def test_a_bad_export_does_not(exported, tmp_path):
    broken = changed(exported[2], "box_head.8.weight", lambda weight: weight * 1.5 + 0.05)
    check = checked(exported, broken, tmp_path)
    assert check.share < 0.97
    assert check.deltas > 0.01


def test_outputs_that_are_not_finite_are_said(exported, tmp_path):
    broken = changed(exported[2], "box_head.8.bias", lambda bias: bias + np.inf)
    check = checked(exported, broken, tmp_path)
    assert not check.finite
    assert CheckResult(check).warnings() == ["some outputs of the exported model are not finite"]


def test_without_a_reference_a_model_is_run_all_the_same(exported, tmp_path):
    check = checked(exported, exported[2], tmp_path, reference=False)
    assert check.line() == "it runs: its outputs are finite on 2 made-up pictures"
    check_result = CheckResult(check, why="ONNX Runtime is not installed")
    assert check_result.lines() == [f"{check.line()}; not compared: ONNX Runtime is not installed"]
    assert check_result.warnings() == []


def test_pictures_fit_the_model(tmp_path):
    for i, size in enumerate([(300, 100), (20, 50)]):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    pictures = check_pictures(str(tmp_path), (64, 96), ImageLists())
    shapes = [picture.shape for picture in pictures]
    assert shapes == [(32, 96, 3), (64, 25, 3)]  # 96 / 300 * 100; 64 / 50 * 20 = 25.6


def test_pictures_that_cannot_be_used_are_said(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UsageError, match="no image in"):
        check_pictures(str(tmp_path), (64, 96), ImageLists())
