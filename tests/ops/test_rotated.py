"""Rotated boxes against loops over single boxes, and their IoU against shapely's polygons."""

import math

import numpy as np
import pytest
import shapely
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES, generate_anchors
from odtk_ray.ops.boxes import decode_boxes
from odtk_ray.ops.decode_heads import decode_level
from odtk_ray.ops.nms import nms
from odtk_ray.ops.rotated import (
    corners,
    decode_rotated,
    rotated_iou,
    rotated_iou_bound,
    same_angle_iou,
)

INF, NAN = math.inf, math.nan
ANGLES = (-math.pi / 6, 0.0, math.pi / 6)


def box(cx, cy, w, h, theta, dtype=torch.float64):
    """One box from its centre, sides (x2 - x1, y2 - y1) and angle."""
    ends = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    return torch.tensor([*ends, math.sin(theta), math.cos(theta)], dtype=dtype)


def clipped_area(subject, rectangle):
    """Sutherland and Hodgman: the subject cut by each edge of a clockwise (y down) rectangle."""
    for (ax, ay), (bx, by) in zip(rectangle, [*rectangle[1:], rectangle[0]], strict=True):

        def side(p, ax=ax, ay=ay, bx=bx, by=by):
            return (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax)

        kept = []
        for p, q in zip(subject, [*subject[1:], *subject[:1]], strict=True):
            sp, sq = side(p), side(q)
            if sp >= 0:
                kept.append(p)
            if (sp > 0 > sq) or (sp < 0 < sq):
                t = sp / (sp - sq)
                kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        subject = kept
    pairs = zip(subject, [*subject[1:], *subject[:1]], strict=True)
    return abs(sum(p[0] * q[1] - p[1] * q[0] for p, q in pairs)) / 2


def turned(x1, y1, x2, y2, sin, cos, origin=(0.0, 0.0)):
    """The corners relative to `origin`, one by one."""
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    around = []
    for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)):
        dx, dy = x - cx, y - cy
        turned_x, turned_y = dx * cos - dy * sin, dx * sin + dy * cos
        around.append((cx - origin[0] + turned_x, cy - origin[1] + turned_y))
    return around


def reference_iou(a, b, own_angles=True):
    """IoU of two rows of six numbers; a is the better box, b the worse one."""
    if not np.isfinite([*a, *b]).all() or not (a[2] > a[0] and a[3] > a[1]):
        return 0.0
    if not (b[2] > b[0] and b[3] > b[1]):
        return 0.0
    a = a if own_angles else (*a[:4], *b[4:])
    origin = ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2)
    common = clipped_area(turned(*a, origin), turned(*b, origin))
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return common / (area_a + area_b - common)


def pairs(seed, count, near=0.5, low=2.0, high=2000.0):
    """float64 [count, 6] twice: sides from 2 to 2,000 px, many pairs alike."""
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(math.log(low), math.log(high), (count, 2, 2)))
    centres = np.repeat(rng.uniform(0, 4000, (count, 1, 2)), 2, axis=1)
    theta = rng.uniform(-math.pi, math.pi, (count, 2))
    centres[:, 1] += rng.normal(0, 0.3, (count, 2)) * sides[:, 0]
    alike = rng.random(count) < near
    sides[alike, 1] = sides[alike, 0] * np.exp(rng.normal(0, 0.1, (alike.sum(), 2)))
    theta[alike, 1] = theta[alike, 0] + rng.normal(0, 0.1, alike.sum())
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)
    turn = np.stack([np.sin(theta), np.cos(theta)], axis=-1)
    return torch.from_numpy(np.concatenate([boxes, turn], axis=-1)).unbind(1)


def shapely_iou(a, b):
    middle = ((a[:, :2] + a[:, 2:4]) / 2)[:, None]
    one, two = (shapely.polygons((corners(boxes) - middle).numpy()) for boxes in (a, b))
    common = shapely.area(shapely.intersection(one, two))
    return common / (shapely.area(one) + shapely.area(two) - common)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_iou_against_shapely(dtype, error):
    a, b = pairs(31, 40_000)
    expected = shapely_iou(a, b)
    found = rotated_iou(a.to(dtype), b.to(dtype))
    assert found.dtype == dtype
    assert (expected > 0.5).mean() > 0.05
    # float32 is held to the boxes it was given
    if dtype == torch.float32:
        expected = shapely_iou(a.float().double(), b.float().double())
    assert np.abs(found.double().numpy() - expected).max() < error


def test_iou_against_clipping_in_a_loop():
    a, b = pairs(37, 500)
    expected = [reference_iou(*rows) for rows in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(rotated_iou(a, b), expected, rtol=0, atol=1e-9)
    expected = [reference_iou(*rows, False) for rows in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(same_angle_iou(a, b), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # a square of side 2 turned by 45 degrees in the same square: a regular octagon with
        # inscribed radius 1, 8 (sqrt 2 - 1) = 3.3137; 3.3137 / (4 + 4 - 3.3137)
        ((0, 0, 2, 2, 0), (0, 0, 2, 2, math.pi / 4), 0.70710678),
        # a cross of two 8 x 2 bars: 2 * 2 / (16 + 16 - 4)
        ((50, 50, 8, 2, 0), (50, 50, 8, 2, math.pi / 2), 1 / 7),
        # the same box, named by its other side
        ((50, 50, 8, 2, 0.3), (50, 50, 2, 8, 0.3 + math.pi / 2), 1),
        ((50, 50, 8, 2, 0.3), (50, 50, 8, 2, 0.3 + math.pi), 1),
        # contained: 4 / 64
        ((50, 50, 8, 8, 0.2), (51, 50, 2, 2, 0.7), 1 / 16),
        # half of the length: 8 / (16 + 16 - 8)
        ((0, 0, 8, 2, 0), (4, 0, 8, 2, 0), 1 / 3),
        ((0, 0, 8, 2, 0), (8, 0, 8, 2, 0), 0),  # a common side
        ((0, 0, 8, 2, 0), (8, 2, 8, 2, 0), 0),  # a common corner
        ((0, 0, 8, 2, 0), (80, 0, 8, 2, 1), 0),
        ((0, 0, 8, 0, 0), (0, 0, 8, 0, 0), 0),  # a line, a point, and a point in a box
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 1), 0),
        ((0, 0, 0, 0, 0), (0, 0, 8, 2, 1), 0),
        ((0, 0, -8, 2, 0), (0, 0, 8, 2, 0), 0),  # inverted
        ((0, 0, -8, -2, 0), (0, 0, -8, -2, 0), 0),
    ],
)
def test_golden_ious(a, b, expected):
    for dtype, error in ((torch.float64, 1e-8), (torch.float32, 1e-6)):
        one, two = box(*a, dtype=dtype), box(*b, dtype=dtype)
        for pair in ((one, two), (two, one)):
            assert rotated_iou(*pair).item() == pytest.approx(expected, abs=error)


def test_odtk_compares_boxes_turned_by_the_same_angle():
    a, b = box(50, 50, 8, 2, 0), box(50, 50, 8, 2, math.pi / 2)
    assert rotated_iou(a, b).item() == pytest.approx(1 / 7)
    assert same_angle_iou(a, b).item() == pytest.approx(1)
    # the worse box decides: (4, 0) lies along the bars at angle 0 and across them at 90 degrees
    shifted = box(54, 50, 8, 2, math.pi / 2)
    assert same_angle_iou(a, shifted).item() == 0
    assert same_angle_iou(shifted, a).item() == pytest.approx(1 / 3)


NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 5.0, 1e-30, 1e30, -1e30, INF, -INF, NAN, 3.4e38]),
    st.floats(-4000, 4000, width=32),
)
ROWS = st.tuples(*[NUMBERS] * 4, st.sampled_from([0.0, 0.3, math.pi / 4, math.pi / 2, 3.0]))


@given(a=ROWS, b=ROWS, dtype=st.sampled_from([torch.float32, torch.float64]))
@examples(400)
def test_any_boxes_give_a_finite_value(a, b, dtype):
    one, two = (
        torch.tensor([*row[:4], math.sin(row[4]), math.cos(row[4])], dtype=dtype) for row in (a, b)
    )
    for measure in (rotated_iou, same_angle_iou, rotated_iou_bound):
        assert 0 <= measure(one, two).item() <= 1 + 1e-6
    if all(map(math.isfinite, (*a, *b))) and max(map(abs, (*a[:4], *b[:4]))) < 5000:
        bound = rotated_iou_bound(one, two).item()
        tiny = 1e-9 if dtype == torch.float64 else 1e-4
        assert rotated_iou(one, two).item() <= bound + tiny
        assert same_angle_iou(one, two).item() <= bound + tiny


@given(seed=st.integers(0, 2**32), nudge=st.sampled_from([0.0, 1e-12, 1e-9, 1e-6]))
@examples(50)
def test_iou_is_continuous_where_polygons_touch(seed, nudge):
    """Equal boxes, boxes with common edges and boxes cut in half, moved by almost nothing."""
    rng = np.random.default_rng(seed)
    w, h, theta = *rng.uniform(2, 2000, 2), rng.uniform(-4, 4)
    along = np.array([math.cos(theta), math.sin(theta)])
    place = rng.uniform(0, 4000, 2) + nudge
    whole = box(*place, w, h, theta)
    half = box(*(place + along * w / 4), w / 2, h, theta + nudge)
    beside = box(*(place + along * w), w, h, theta)
    for a, b, expected in ((whole, whole, 1), (whole, half, 0.5), (whole, beside, 0)):
        for pair in ((a, b), (b, a)):
            assert rotated_iou(*pair).item() == pytest.approx(expected, abs=1e-8 + 1e4 * nudge)


def test_iou_does_not_change_when_both_boxes_move_or_turn():
    a, b = pairs(41, 2000, high=300)
    expected = rotated_iou(a, b)
    moved = torch.tensor([16384.0, -8192.0, 16384.0, -8192.0, 0.0, 0.0])
    torch.testing.assert_close(rotated_iou(a + moved, b + moved), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(rotated_iou(b, a), expected, rtol=0, atol=1e-12)


def test_corners_as_drawn_in_the_conventions():
    # 80 x 20 pixels at (100, 200): x 100..179, y 200..219, centre (139.5, 209.5)
    found = corners(torch.tensor([100, 200, 179, 219, math.sin(0.3), math.cos(0.3)]))
    expected = [[104.57, 188.75], [180.04, 212.10], [174.43, 230.25], [98.96, 206.90]]
    np.testing.assert_allclose(found, expected, atol=0.006)
    # a quarter turn clockwise on the screen brings the top left corner to the top right
    quarter = corners(box(10, 10, 8, 4, math.pi / 2))
    np.testing.assert_allclose(quarter, [[12, 6], [12, 14], [8, 14], [8, 6]], atol=1e-12)


# ---------------------------------------------------------------------------- anchors and decoding


def test_rotated_anchors_are_the_rounded_ones_once_an_angle():
    found = generate_anchors(8, DEFAULT_RATIOS, DEFAULT_SCALES, "legacy", ANGLES)
    plain = generate_anchors(8, DEFAULT_RATIOS, DEFAULT_SCALES, "legacy")
    assert found.shape == (27, 4)
    for angle in range(3):  # row angle * 9 + scale * 3 + ratio
        assert torch.equal(found[9 * angle : 9 * angle + 9], plain)
    # ratio 2: w = round(8 / sqrt 2) = 6, h = 12, times 4: 4 -+ 12 and 4 -+ 24, less 1 at the end
    assert found[10].tolist() == [-8, -20, 15, 27]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ((0.6, 0.8), (0.6, 0.8)),
        ((3.0, 4.0), (0.6, 0.8)),
        ((-0.0, -2.0), (0.0, -1.0)),
        ((1e-30, 0.0), (1.0, 0.0)),
        ((3e38, 3e38), (math.sqrt(0.5), math.sqrt(0.5))),
        ((0.0, 0.0), (0.0, 1.0)),
        ((NAN, 1.0), (0.0, 1.0)),
        ((INF, 1.0), (0.0, 1.0)),
    ],
)
def test_directions_have_length_1(direction, expected):
    anchor = torch.tensor([8.0, 8.0, 15.0, 15.0])
    found = decode_rotated(torch.tensor([0.25, 0, 0, 0, *direction]), anchor, 100, 100)
    # centre 12 + 0.25 * 8 = 14, half side 4: 10 to 14 + 4 - 1
    assert found[:4].tolist() == [10, 8, 17, 15]
    if not all(map(math.isfinite, direction)) or max(map(abs, direction)) < 1e38:
        assert found[4:].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.linalg.vector_norm(found[4:]).item() == pytest.approx(1, abs=1e-6)


def test_decoding_a_level_value_by_value():
    g = torch.Generator().manual_seed(43)
    classes, height, width, stride = 2, 3, 4, 16
    anchors = generate_anchors(stride, DEFAULT_RATIOS, DEFAULT_SCALES, "legacy", ANGLES)
    scores = torch.rand(2, 27 * classes, height, width, generator=g)
    deltas = torch.randn(2, 27 * 6, height, width, generator=g) * 0.5
    found = decode_level(scores, deltas, anchors, stride, threshold=0.9, top_n=500, rotated=True)
    for image in range(2):
        expected = []
        for a in range(27):
            for label in range(classes):
                for y in range(height):
                    for x in range(width):
                        if scores[image, a * classes + label, y, x] > 0.9:
                            expected.append((a, label, y, x))
        used = found[0][image] > 0
        assert used.sum() == len(expected) > 40
        for slot, (a, label, y, x) in enumerate(expected):
            delta = deltas[image, 6 * a : 6 * a + 6, y, x]
            shift = torch.tensor([x, y, x, y]) * stride
            plain = decode_boxes(delta[:4], anchors[a] + shift, width * stride, height * stride)
            length = math.hypot(delta[4], delta[5])
            assert found[2][image, slot] == label
            assert torch.equal(found[1][image, slot, :4], plain)
            np.testing.assert_allclose(found[1][image, slot, 4:], delta[4:] / length, atol=1e-6)


# ------------------------------------------------------------------------------------- suppression


def candidates(seed, batch, count, classes, extent=150.0, odd=0.0, tied=0.2):
    """Seeded thin boxes in clusters."""
    g = torch.Generator().manual_seed(seed)
    centres = (torch.rand(batch, count, 2, generator=g) * extent / 30).round() * 30
    centres += torch.randn(batch, count, 2, generator=g) * 3
    sides = torch.rand(batch, count, 2, generator=g) * 12 + torch.tensor([40.0, 12.0])
    theta = (torch.rand(batch, count, generator=g) * 6).round() * math.pi / 6
    theta += torch.randn(batch, count, generator=g) * 0.1
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)
    strange = torch.tensor([(5.0, 5, 4, 4), (0, 0, INF, INF), (NAN, 0, 9, 9), (INF, 0, INF, 9)])
    pick = strange[torch.randint(4, (batch, count), generator=g)]
    boxes = torch.where((torch.rand(batch, count, generator=g) < odd)[..., None], pick, boxes)
    boxes = torch.cat([boxes, theta.sin()[..., None], theta.cos()[..., None]], dim=-1)
    scores = torch.rand(batch, count, generator=g)
    scores[torch.rand(batch, count, generator=g) < tied] = 0.5
    return scores, boxes, torch.randint(classes, (batch, count), generator=g)


def reference_nms(scores, boxes, classes, threshold, detections, own_angles):
    order = sorted((i for i in range(len(scores)) if scores[i] > 0), key=lambda i: -scores[i])
    kept = []
    for i in order:
        worse = boxes[i].tolist()
        if all(
            classes[k] != classes[i]
            or reference_iou(boxes[k].tolist(), worse, own_angles) <= threshold
            for k in kept
        ):
            kept.append(i)
    return kept[:detections]


@given(
    seed=st.integers(0, 2**32),
    batch=st.integers(0, 3),
    count=st.integers(0, 40),
    classes=st.sampled_from([1, 3]),
    odd=st.sampled_from([0.0, 0.2]),
    threshold=st.sampled_from([0.1, 0.3, 0.5, 0.9]),
    detections=st.sampled_from([1, 5, 50]),
    own_angles=st.booleans(),
)
@examples(60)
def test_suppression_against_the_loop(
    seed, batch, count, classes, odd, threshold, detections, own_angles
):
    scores, boxes, labels = candidates(seed, batch, count, classes, odd=odd)
    found = nms(
        scores, boxes, labels, threshold=threshold, detections=detections, own_angles=own_angles
    )
    assert found[1].shape == (batch, detections, 6)
    for b in range(batch):
        kept = reference_nms(scores[b], boxes[b], labels[b], threshold, detections, own_angles)
        for tensor, given_ in zip(found, (scores, boxes, labels), strict=True):
            np.testing.assert_array_equal(tensor[b, : len(kept)], given_[b, kept])
            assert not tensor[b, len(kept) :].any()


def test_own_angles_keep_crossing_boxes_and_odtk_drops_one():
    boxes = torch.stack([box(50, 50, 40, 8, 0), box(50, 50, 40, 8, math.pi / 2)]).float()[None]
    scores, labels = torch.tensor([[0.9, 0.8]]), torch.zeros(1, 2, dtype=torch.int64)
    options = {"threshold": 0.5, "detections": 2}
    assert (nms(scores, boxes, labels, **options)[0] > 0).sum() == 2
    assert (nms(scores, boxes, labels, **options, own_angles=False)[0] > 0).sum() == 1


def test_an_image_does_not_depend_on_its_mates():
    batch = candidates(47, 4, 300, 3, extent=400.0, odd=0.02)
    together = nms(*batch, threshold=0.5, detections=100)
    for image in range(4):
        alone = nms(*(t[image : image + 1] for t in batch), threshold=0.5, detections=100)
        for tensor, own in zip(together, alone, strict=True):
            np.testing.assert_array_equal(tensor[image], own[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_keeps_the_same_rotated_boxes():
    batch = candidates(53, 8, 2000, 5, extent=600.0)
    on_cpu = nms(*batch, threshold=0.5, detections=100)
    on_gpu = nms(*(t.cuda() for t in batch), threshold=0.5, detections=100)
    assert all(torch.equal(gpu.cpu(), cpu) for gpu, cpu in zip(on_gpu, on_cpu, strict=True))
