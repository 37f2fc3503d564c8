"""Matching two runs' detections, and the check that tells a good export from a bad one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from PIL import Image

from odtk_ray.config import Postprocessing
from odtk_ray.errors import UsageError
from odtk_ray.export.check import check_onnx, check_pictures, match
from odtk_ray.export.onnx import describe_export, to_onnx
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.records import Detections


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


@pytest.fixture(scope="module")
def exported(checkpoint):
    loaded = load_checkpoint(checkpoint)
    about = describe_export(loaded, (96, 128), Postprocessing(), with_postprocess=False)
    return loaded, about, to_onnx(loaded, about)


def test_a_good_export_matches(exported, tmp_path):
    loaded, about, model = exported
    path = str(tmp_path / "m.onnx")
    onnx.save(model, path)
    check = check_onnx(path, loaded, about, check_pictures(None, about.size))
    assert check.counted > 20
    assert check.share == 1
    assert check.scores < 1e-3
    assert check.deltas < 1e-3
    assert f"{check.counted} of {check.counted} detections matched" in check.line()


def test_a_bad_export_does_not(exported, tmp_path):
    loaded, about, model = exported
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    (weight,) = (t for t in broken.graph.initializer if t.name == "box_head.8.weight")
    array = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(array * 1.5 + 0.05, weight.name))
    path = str(tmp_path / "m.onnx")
    onnx.save(broken, path)
    check = check_onnx(path, loaded, about, check_pictures(None, about.size))
    assert check.share < 0.97
    assert check.deltas > 0.01


def test_pictures_fit_the_model(tmp_path):
    for i, size in enumerate([(300, 100), (20, 50)]):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    shapes = [picture.shape for picture in check_pictures(str(tmp_path), (64, 96))]
    assert shapes == [(32, 96, 3), (64, 25, 3)]  # 96 / 300 * 100; 64 / 50 * 20 = 25.6


def test_pictures_that_cannot_be_used_are_said(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UsageError, match="no image in"):
        check_pictures(str(tmp_path), (64, 96))
