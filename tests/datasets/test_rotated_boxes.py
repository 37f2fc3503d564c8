"""Conventions of rotated boxes: what stays are the corners."""

import math

import numpy as np
import pytest
import shapely
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.datasets.rotated_boxes import (
    corners,
    enclosing_box,
    from_opencv,
    to_le90,
    to_opencv,
)


def corner_set(boxes):
    """The corners of each box in an order that their names do not decide about."""
    points = corners(boxes)
    return np.sort_complex(np.round(points[..., 0], 6) + 1j * np.round(points[..., 1], 6))


def random_boxes(seed, count=500, shortest=1.5, longest=100):
    rng = np.random.default_rng(seed)
    low, high = [0, 0, *[shortest] * 2, -math.pi], [500, 500, *[longest] * 2, math.pi]
    return rng.uniform(low, high, (count, 5))


@pytest.mark.parametrize("sides", [(1.5, 100), (0, 2)])  # also of less than a pixel
def test_opencv_and_le90_name_the_same_corners(sides):
    boxes = random_boxes(1, 500, *sides)
    opencv, le90 = to_opencv(boxes), to_le90(boxes)
    np.testing.assert_allclose(corner_set(from_opencv(opencv)), corner_set(boxes), atol=1e-5)
    le90_degrees = np.hstack([le90[:, :4], np.degrees(le90[:, 4:])])
    np.testing.assert_allclose(corner_set(from_opencv(le90_degrees)), corner_set(boxes), atol=1e-5)
    assert ((opencv[:, 4] > 0) & (opencv[:, 4] <= 90)).all()
    assert ((le90[:, 4] >= -math.pi / 2) & (le90[:, 4] < math.pi / 2)).all()
    assert (le90[:, 2] >= le90[:, 3]).all()
    assert (opencv[:, 2:4] >= 0).all()
    assert (le90[:, 3] >= 0).all()


@pytest.mark.parametrize(
    ("odtk", "opencv", "le90"),
    [
        # 80 x 20 pixels: 79 x 19 between corners, centre (139.5, 209.5)
        ((100, 200, 80, 20, 0.0), (139.5, 209.5, 19, 79, 90), (139.5, 209.5, 79, 19, 0)),
        (
            (100, 200, 80, 20, math.pi / 6),
            (139.5, 209.5, 79, 19, 30),
            (139.5, 209.5, 79, 19, math.pi / 6),
        ),
        (
            (100, 200, 80, 20, -math.pi / 6),
            (139.5, 209.5, 19, 79, 60),
            (139.5, 209.5, 79, 19, -math.pi / 6),
        ),
        (
            (100, 200, 20, 80, math.pi / 6),
            (109.5, 239.5, 19, 79, 30),
            (109.5, 239.5, 79, 19, -math.pi / 3),
        ),
        (
            (100, 200, 80, 20, math.pi / 2),
            (139.5, 209.5, 79, 19, 90),
            (139.5, 209.5, 79, 19, -math.pi / 2),
        ),
    ],
)
def test_worked_numbers(odtk, opencv, le90):
    boxes = np.array([odtk], float)
    np.testing.assert_allclose(to_opencv(boxes)[0], opencv, atol=1e-9)
    np.testing.assert_allclose(to_le90(boxes)[0], le90, atol=1e-9)
    np.testing.assert_allclose(
        corner_set(from_opencv(np.array([opencv], float))), corner_set(boxes), atol=1e-6
    )


@pytest.mark.parametrize(
    ("degrees", "theta"),
    [(180, math.pi), (-180, math.pi), (270, -math.pi / 2), (-45, -math.pi / 4), (0, 0)],
)
def test_theta_is_in_half_a_turn_either_way(degrees, theta):
    assert from_opencv(np.array([[0, 0, 9, 9, degrees]], float))[0, 4] == pytest.approx(theta)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 12))
@examples(100)
def test_enclosing_box_is_the_smallest(seed, count):
    points = np.random.default_rng(seed).uniform(0, 100, (count, 2)).round(1)
    box = enclosing_box(points)
    outline = corners(box[None])[0]
    around = shapely.Polygon(outline).buffer(1e-6)
    assert all(around.covers(shapely.Point(p)) for p in points)
    assert (box[2:4] >= 1).all()
    assert box[2] >= box[3]
    assert -math.pi / 2 < box[4] <= math.pi / 2 + 1e-12
    smallest = shapely.minimum_rotated_rectangle(shapely.MultiPoint(points)).area
    assert (box[2] - 1) * (box[3] - 1) == pytest.approx(smallest, abs=1e-6)


def test_enclosing_box_of_a_rectangle_is_that_rectangle():
    for box in random_boxes(2, 100):
        outline = corners(box[None])[0]
        np.testing.assert_allclose(
            corner_set(enclosing_box(outline)[None]), corner_set(box[None]), atol=1e-5
        )
