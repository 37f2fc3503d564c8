"""Drawn pictures, looked at through their pixels."""

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from odtk_ray.pictures.draw_detections import _Space, draw_detections
from odtk_ray.pictures.strokes import class_color

LABELS = ["cat", "dog"]


def noise(width=320, height=240, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def draw(picture, boxes, scores=None, labels=LABELS, classes=None):
    n = len(boxes)
    return draw_detections(
        picture,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(n, 0.5, np.float32) if scores is None else np.array(scores, np.float32),
        labels,
        np.zeros(n, np.int32) if classes is None else np.array(classes, np.int32),
    )


def changed(before, after):
    """bool [height, width]: the pixels that differ."""
    difference = np.asarray(before) != np.asarray(after)
    return difference if difference.ndim == 2 else difference.any(axis=2)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("boxes", [[], [[50, 60, 150, 160]]])
def test_a_new_picture_of_the_same_size_and_mode(boxes, mode):
    picture = noise(mode=mode)
    before = picture.copy()
    after = draw(picture, boxes)
    assert after is not picture
    assert not changed(before, picture).any()
    assert (after.size, after.mode) == (picture.size, mode)
    assert changed(picture, after).any() == bool(boxes)


def test_pixels_change_only_on_the_lines_and_the_label():
    picture = noise()  # lines are 1 pixel wide here, with 1 pixel of halo on either side
    drawn = changed(picture, draw(picture, [[50, 60, 150, 160]]))
    rows, columns = np.nonzero(drawn)
    assert (columns.min(), columns.max()) == (49, 151)
    assert rows.max() == 161
    assert 40 < rows.min() < 55  # the label stands on the box
    assert not drawn[62:159, 52:149].any()
    assert drawn[60:161, [50, 150]].mean() > 0.98  # noise may have the line's colour by chance


def test_lines_have_the_class_colour_and_inclusive_corners():
    after = draw(noise(), [[50, 60, 150, 160]], classes=[1])
    assert [after.getpixel(at) for at in [(50, 100), (150, 100), (150, 160)]] == [
        class_color(1)
    ] * 3


def test_lines_and_text_grow_with_the_picture():
    def size(picture, box):
        drawn = changed(picture, draw(picture, [box]))
        middle = drawn[(box[1] + box[3]) // 2, : (box[0] + box[2]) // 2]
        return middle.sum(), box[1] - np.nonzero(drawn)[0].min()

    line, text = size(noise(320, 240), [100, 100, 200, 200])
    big_line, big_text = size(noise(2560, 1920), [800, 800, 1600, 1600])
    assert big_line > 2 * line
    assert big_text > 3 * text


@pytest.mark.parametrize("best", [0, 1])
def test_the_best_box_is_on_top(best):
    boxes = [[50, 100, 200, 200], [100, 50, 150, 230]]  # crossing at y = 200
    scores = [0.9 if i == best else 0.3 for i in range(2)]
    after = draw(noise(), boxes, scores, ["", ""], [0, 1])
    assert after.getpixel((100, 200)) == class_color(best)
    assert after.getpixel((150, 200)) == class_color(best)


@pytest.mark.parametrize(
    "box",
    [
        [-50, -50, -1, -1],
        [320, 10, 400, 50],
        [10, 240, 50, 300],
        [100, 100, 50, 150],
        [100, 150, 150, 100],
        [float("nan"), 10, 50, 60],
        [10, 10, float("inf"), 60],
    ],
)
def test_boxes_without_a_visible_part_leave_no_trace(box):
    picture = noise()
    assert not changed(picture, draw(picture, [box])).any()


def test_a_box_around_the_picture_is_cut_off_and_has_its_label_inside():
    picture = noise()
    drawn = changed(picture, draw(picture, [[-100, -100, 1000, 1000]]))
    assert drawn[:, [0, -1]].mean() > 0.98
    assert drawn[[0, -1]].mean() > 0.98
    assert drawn[3:12, 3:30].mean() > 0.9
    assert not drawn[20:230, 3:310].any()


@pytest.mark.parametrize("labels", [[], ["a\nb\tc"], ["x" * 500], ["猫 é"], [""]])
def test_odd_names(labels):
    picture = noise()
    drawn = changed(picture, draw(picture, [[100, 100, 200, 200]], labels=labels))
    assert drawn[70:98].any()
    assert not drawn[:70].any()


coordinate = st.floats(-300, 600) | st.sampled_from([float("nan"), float("inf"), -1e30, 0.0])


@examples(60)
@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    boxes=st.lists(st.tuples(*[coordinate] * 4), max_size=6),
)
def test_any_box_in_any_picture(size, boxes):
    picture = noise(*size)
    after = draw(picture, boxes, classes=range(len(boxes)))
    assert (after.size, after.mode) == (picture.size, "RGB")


@examples(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(20, 300), st.integers(20, 300)),
    share=st.sampled_from([0.05, 0.2, 1.0]),
)
def test_labels_stay_inside_apart_and_hide_no_box(seed, size, share):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, size, (30, 2))
    last = np.minimum(first + rng.integers(0, 80, (30, 2)), np.array(size) - 1)
    boxes = np.hstack([first, last]).astype(float)
    space = _Space(size, boxes)
    label = (int(rng.integers(1, 60)), int(rng.integers(1, 20)))
    taken = [where for box in boxes if (where := space.take(box, label, share)) is not None]

    cover = np.zeros((size[1], size[0]), int)
    for x1, y1, x2, y2 in np.array(taken, int).reshape(-1, 4):
        assert (x2 - x1 + 1, y2 - y1 + 1) == label
        assert min(x1, y1) >= 0
        assert x2 < size[0]
        assert y2 < size[1]
        part = np.zeros_like(cover)
        part[y1 : y2 + 1, x1 : x2 + 1] = 1
        for a1, b1, a2, b2 in boxes.astype(int):
            assert part[b1 : b2 + 1, a1 : a2 + 1].mean() <= 0.3 + 1e-9
        cover += part
    assert cover.max() <= 1
    assert cover.mean() <= share


def test_many_small_boxes_stay_visible():
    rng = np.random.default_rng(1)
    picture = noise(640, 480)
    first = rng.integers(0, (600, 440), (100, 2))
    boxes = np.hstack([first, first + rng.integers(10, 40, (100, 2))])
    labels = ["a name that takes much room"]
    drawn = changed(picture, draw(picture, boxes, rng.random(100), labels)).mean()
    lines = 100 * 4 * 25 * (2 + 2) / (640 * 480)  # 4 sides of 25 pixels, 2 wide, with halo: 0.13
    assert 0.05 < drawn < lines + 0.15


def test_class_colours_are_stable_and_apart():
    colors = np.array([class_color(n) for n in range(100)])
    assert class_color(0) == (255, 51, 51)  # hue 0, saturation 0.8: 255 * (1 - 0.8) = 51
    assert len(np.unique(colors, axis=0)) == 100
    steps = np.abs(np.diff(colors, axis=0)).sum(axis=1)
    assert steps.min() > 100
    assert class_color(10**9) == class_color(10**9)


def test_truth_is_dashed_on_a_detection_of_its_class():
    picture = Image.new("RGB", (320, 240), (128, 128, 128))
    outline = np.array([[50, 60], [50, 160], [150, 160], [150, 60]], float)
    found = np.array([[50, 60, 150, 160]], np.float32), np.array([0.5]), [""], np.array([1])
    drawn = np.asarray(draw_detections(picture, *found, truth=[(1, outline)]))
    along = drawn[160, 55:145]  # away from the corners
    white = (along == 255).all(axis=1)
    coloured = (along == class_color(1)).all(axis=1)
    assert (white | coloured).all()
    assert 0.3 < white.mean() < 0.7


def test_truth_hides_no_label():
    picture = Image.new("RGB", (320, 240), (128, 128, 128))
    found = np.array([[50, 60, 150, 160]], np.float32), np.array([0.5]), ["cat"], np.array([0])
    plain = np.asarray(draw_detections(picture, *found))
    through = np.array([[55, 0], [55, 239], [56, 239], [56, 0]], float)
    with_truth = np.asarray(draw_detections(picture, *found, truth=[(1, through)]))
    label = (slice(50, 58), slice(52, 70))  # of the label, which is a little transparent
    assert np.abs(plain[label].astype(int) - with_truth[label]).max() < 60
    assert changed(plain, with_truth)[170:230].any()


def test_one_width_for_all_pictures():
    gray = Image.new("RGB", (640, 480), (128, 128, 128))
    boxes = np.array([[100, 100, 400, 400]], np.float32), np.array([0.5]), [""], np.array([0])
    drawn = np.asarray(draw_detections(gray, *boxes, line_width=7))
    assert (drawn[250, 100:107] == class_color(0)).all()
    assert not (drawn[250, 108] == class_color(0)).all()
