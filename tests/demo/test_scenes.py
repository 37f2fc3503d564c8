"""Scenes: what is drawn is what the boxes say, within the ranges, the same for the same seed."""

import math

import numpy as np
import pytest
import shapely
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from training.scenes import Style, draw_scene
from training.silhouettes import NAMES, SILHOUETTES

from odtk_ray.datasets.rotated_boxes import corners

SMALL = Style(side=320, count=(4, 14))
CROWDED = Style(side=256, count=(30, 30), sides=(16, 90), aspects=(1.5, 5))
SEEDS = st.integers(0, 2**32)


def noise(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height))


PHOTOGRAPHS = [noise(400, 320, 1), noise(96, 200, 2)]


def outline(box, number):
    """The shape itself as a polygon, in pixels whose centres are whole numbers."""
    x, y, w, h, theta = box
    u = np.linspace(-1, 1, 401)
    reach = SILHOUETTES[number].reach(u)
    along, across = np.append(u, u[::-1]) * w / 2, np.append(reach, -reach[::-1]) * h / 2
    sin, cos = math.sin(theta), math.cos(theta)
    centre = np.array([x + (w - 1) / 2, y + (h - 1) / 2])
    points = np.stack([along * cos - across * sin, along * sin + across * cos], axis=1)
    return shapely.Polygon(points + centre).buffer(0)


@given(SEEDS, st.integers(0, 1000))
@examples(25)
def test_everything_is_within_its_range(seed, index):
    scene = draw_scene(PHOTOGRAPHS, SMALL, seed, index)
    assert scene.pixels.shape == (320, 320, 3)
    assert scene.pixels.dtype == np.uint8
    assert SMALL.count[0] <= len(scene.boxes) <= SMALL.count[1]
    assert scene.boxes.shape == (len(scene.classes), 5)
    assert set(scene.classes) <= set(range(len(SILHOUETTES)))
    w, h, theta = scene.boxes[:, 2:].T
    assert (h >= 16 - 1e-9).all()
    assert (w <= 200 + 1e-9).all()
    assert (w / h >= 1.5 - 1e-9).all()
    assert (w / h <= 8 + 1e-9).all()
    assert (theta > -math.pi).all()
    assert (theta <= math.pi).all()
    # Corners are centres of pixels: half a pixel inside of the edges that are in the picture
    outlines = corners(scene.boxes)
    assert (outlines >= 0 - 0.5).all()
    assert (outlines <= 319 + 0.5).all()
    assert (scene.hidden >= 0).all()
    assert (scene.hidden <= 0.5).all()


def test_angles_sides_kinds_and_counts_cover_their_ranges():
    scenes = [draw_scene(PHOTOGRAPHS, SMALL, 5, index) for index in range(80)]
    boxes = np.concatenate([scene.boxes for scene in scenes])
    turns = np.histogram(boxes[:, 4], 12, (-math.pi, math.pi))[0]
    assert turns.min() > 0.5 * len(boxes) / 12
    kinds = np.bincount(np.concatenate([scene.classes for scene in scenes]))
    assert kinds.min() > 0.7 * len(boxes) / len(NAMES)
    aspects = np.histogram(np.log(boxes[:, 2] / boxes[:, 3]), 5, np.log([1.5, 8]))[0]
    assert aspects.min() > 0.5 * len(boxes) / 5
    assert boxes[:, 3].min() < 17
    assert boxes[:, 2].min() < 30
    assert boxes[:, 2].max() > 195
    assert {len(scene.boxes) for scene in scenes} == set(range(4, 15))


def test_a_full_scene_has_as_many_shapes_as_its_style_says():
    counts = [len(draw_scene(PHOTOGRAPHS, Style(), 7, index).boxes) for index in range(6)]
    assert min(counts) >= 10
    assert max(counts) <= 60


@pytest.mark.parametrize("index", range(4))
def test_hidden_is_the_share_below_later_shapes(index):
    scene = draw_scene(PHOTOGRAPHS, CROWDED, 3, index)
    shapes = [outline(b, n) for b, n in zip(scene.boxes, scene.classes, strict=True)]
    for i, shape in enumerate(shapes):
        above = shapely.union_all(shapes[i + 1 :])
        expected = shape.intersection(above).area / shape.area
        # Pixels of the smallest shapes are a few hundred, those on outlines count or do not
        assert scene.hidden[i] == pytest.approx(expected, abs=0.05)


def test_shapes_are_hidden_up_to_a_half():
    hidden = np.concatenate(
        [draw_scene(PHOTOGRAPHS, CROWDED, 3, index).hidden for index in range(10)]
    )
    assert hidden.max() > 0.4
    assert 0.05 < (hidden > 0.2).mean() < 0.5


GRAY = [Image.new("RGB", (400, 400), (128, 128, 128))]
ALONE = Style(side=320, count=(1, 1))


@pytest.mark.parametrize("index", range(12))
def test_the_box_is_exact(index):
    """On gray ground only the shape has a tint: its pixels reach to all sides of its box."""
    scene = draw_scene(GRAY, ALONE, 9, index)
    [(x, y, w, h, theta)] = scene.boxes
    rows, columns = np.nonzero(np.ptp(scene.pixels, axis=2) > 1)
    right, down = columns - (x + (w - 1) / 2), rows - (y + (h - 1) / 2)
    u = right * math.cos(theta) + down * math.sin(theta)
    v = down * math.cos(theta) - right * math.sin(theta)
    # The leaf's tips and the slanted ends of lines are thinner than a pixel
    for values, side in ((u, w), (v, h)):
        assert values.max() == pytest.approx(side / 2, abs=0.04 * w + 1)
        assert values.min() == pytest.approx(-side / 2, abs=0.04 * w + 1)
        assert np.abs(values).max() < side / 2 + 1
    area = outline(scene.boxes[0], scene.classes[0]).area
    assert len(u) == pytest.approx(area, rel=0.1, abs=30)


def test_the_tip_of_a_wedge_is_where_theta_points():
    wedge, found = NAMES.index("wedge"), 0
    for index in range(20):
        scene = draw_scene(GRAY, ALONE, 11, index)
        if scene.classes[0] == wedge:
            x, y, w, h, theta = scene.boxes[0]
            rows, columns = np.nonzero(np.ptp(scene.pixels, axis=2) > 1)
            right, down = columns - (x + (w - 1) / 2), rows - (y + (h - 1) / 2)
            u = right * math.cos(theta) + down * math.sin(theta)
            v = down * math.cos(theta) - right * math.sin(theta)
            assert np.ptp(v[u > 0.6 * w / 2]) < 0.6 * np.ptp(v[u < -0.6 * w / 2])
            found += 1
    assert found >= 3


def test_a_shape_stands_out_from_what_it_covers():
    """Before shading, which changes the mean luma by less than a third."""
    luma = np.array([0.299, 0.587, 0.114])
    for index in range(20):
        scene = draw_scene(GRAY, ALONE, 13, index)
        mask = np.ptp(scene.pixels, axis=2) > 1
        assert abs((scene.pixels[mask] @ luma).mean() - 128) > 8


def test_the_same_seed_and_index_give_the_same_scene_and_others_do_not():
    first, same = (draw_scene(PHOTOGRAPHS, SMALL, 4, 6) for _ in range(2))
    for name in ("pixels", "boxes", "classes", "hidden"):
        assert np.array_equal(getattr(first, name), getattr(same, name))
    others = [draw_scene(PHOTOGRAPHS, SMALL, *pair) for pair in ((4, 7), (5, 6))]
    assert not any(np.array_equal(first.pixels, other.pixels) for other in others)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"sides": (16, 100)}, "no room"),
        ({"aspects": (1.5, 13)}, "no room"),
        ({"side": 239}, "do not fit"),  # the diagonal of 200 by 133 is 240
        ({"side": 280, "aspects": (1.0, 8.0)}, "do not fit"),
    ],
)
def test_a_style_in_which_shapes_do_not_fit_is_refused(ranges, message):
    with pytest.raises(ValueError, match=message):
        Style(**ranges)


def test_photographs_that_are_smaller_than_the_scene_are_enlarged():
    scene = draw_scene([noise(96, 64, 3)], SMALL, 0, 0)
    assert scene.pixels.shape == (320, 320, 3)
    assert len(scene.boxes) >= 4


def test_the_generator_is_frozen():
    """Numbers of one scene: whoever changes them changes VERSION and trains anew."""
    scene = draw_scene(PHOTOGRAPHS, SMALL, 1, 2)
    assert GOLDEN["classes"] == scene.classes.tolist()
    assert scene.boxes[[0, -1]] == pytest.approx(np.array(GOLDEN["boxes"]), abs=1e-6)
    assert scene.hidden == pytest.approx(np.array(GOLDEN["hidden"]), abs=0.002)
    assert scene.pixels.mean(axis=(0, 1)) == pytest.approx(GOLDEN["mean"], abs=0.05)
    assert scene.pixels.std(axis=(0, 1)) == pytest.approx(GOLDEN["std"], abs=0.05)


GOLDEN = {
    "classes": [0, 0, 2, 3, 2],
    "boxes": [
        [226.8997814, 262.18833899, 89.45093161, 19.71408647, -0.12639159],
        [-44.52134073, 157.91258753, 177.06388315, 49.99883174, -1.66487116],
    ],
    "hidden": [0.2817, 0.0, 0.0, 0.0, 0.0],
    "mean": [125.672, 129.41, 125.555],
    "std": [59.964, 62.561, 62.975],
}
