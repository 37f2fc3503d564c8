"""Boxes as files have them, by hand."""

import math

import numpy as np
import pytest

from odtk_ray.records import to_bbox


def test_corners_become_sides_and_sin_and_cos_an_angle():
    turned = [[100, 200, 179, 219, math.sin(0.3), math.cos(0.3)], [3, 3, 3, 7, 0, -1]]
    boxes = np.array(turned, np.float32)
    expected = np.array([[100, 200, 80, 20, 0.3], [3, 3, 1, 5, math.pi]])
    assert to_bbox(boxes) == pytest.approx(expected, abs=1e-7)
    assert to_bbox(boxes[:, :4]).tolist() == [[100, 200, 80, 20], [3, 3, 1, 5]]
    assert to_bbox(np.empty((0, 6), np.float32)).shape == (0, 5)


def test_angles_are_the_c_librarys_on_every_cpu():
    """Also where NumPy has its own arctan2, which gives other last bits."""
    rng = np.random.default_rng(1)
    boxes = rng.uniform(-1, 1, (5000, 6)).astype(np.float32)
    expected = [math.atan2(sin, cos) for sin, cos in boxes[:, 4:].tolist()]
    assert to_bbox(boxes)[:, 4].tolist() == expected
