"""Box decoding and IoU against arithmetic done by hand and against plain float32 loops."""

import math

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.ops.boxes import decode_boxes, pairwise_iou

INF, NAN = math.inf, math.nan
LEVEL = (80, 48)  # limit_w, limit_h of the tests: 10 x 6 cells of stride 8
ANCHOR = (12.0, 4.0, 44.0, 36.0)  # 33 x 33 around (28.5, 20.5)
LOG2 = math.log(2)

FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 100.0, 1e30, -1e30, INF, -INF, NAN]),
    st.floats(-200, 200, width=32),
)
BOXES = st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), max_size=6)


def as_boxes(rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def reference_iou(box1, box2):
    """nms.cu's arithmetic, one float32 operation at a time; its max and min are fmax and fmin."""
    one, zero = np.float32(1), np.float32(0)
    a, b = np.float32(box1), np.float32(box2)
    with np.errstate(all="ignore"):
        width = np.fmax(zero, np.fmin(a[2], b[2]) - np.fmax(a[0], b[0]) + one)
        height = np.fmax(zero, np.fmin(a[3], b[3]) - np.fmax(a[1], b[1]) + one)
        area_a = (a[2] - a[0] + one) * (a[3] - a[1] + one)
        area_b = (b[2] - b[0] + one) * (b[3] - b[1] + one)
        inter = width * height
        return inter / (area_a + area_b - inter)


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([], []),
        # centre +- 33 / 2, the far end less 1: the anchor itself
        ([(0, 0, 0, 0)], [(12, 4, 44, 36)]),
        # the centre moves by a whole width of 33: 12 + 33 = 45; 44 + 33 = 77
        ([(1, 0, 0, 0)], [(45, 4, 77, 36)]),
        # twice as wide: 28.5 -+ 33 = -4.5 -> 0 and 61.5 - 1; twice as high: 20.5 + 33 - 1 -> 47
        ([(0, 0, LOG2, LOG2)], [(0, 0, 60.5, 47)]),
        # centred right of the picture: x1 = 12 + 99 is not clipped to 79, x2 is
        ([(3, 0, 0, 0)], [(111, 4, 79, 36)]),
        # centred left of the picture: x2 = 44 - 99 is not clipped to 0, x1 is
        ([(-3, 0, 0, 0)], [(0, 4, -55, 36)]),
        # exp overflows: everything; exp underflows: a box of size 0 at the centre
        ([(0, 0, 200, 200)], [(0, 0, 79, 47)]),
        ([(0, 0, -200, -200)], [(28.5, 20.5, 27.5, 19.5)]),
        # inf - inf and NaN give the bounds, as CUDA's fmaxf and fminf do
        ([(INF, NAN, INF, 0)], [(0, 0, 79, 47)]),
        ([(INF, -INF, 0, 0)], [(INF, 0, 79, -INF)]),
    ],
)
def test_decode_boxes(deltas, expected):
    deltas = as_boxes(deltas)
    boxes = decode_boxes(deltas, torch.tensor(ANCHOR).expand_as(deltas), *LEVEL)
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes, as_boxes(expected), atol=1e-5, rtol=0)


def test_decode_boxes_works_on_any_leading_dimensions_and_in_float32():
    deltas = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(1)).half()
    anchors = torch.tensor(ANCHOR).expand(5, 4)
    boxes = decode_boxes(deltas, anchors, *LEVEL)
    assert boxes.shape == (2, 3, 5, 4)
    flat = decode_boxes(deltas.float().reshape(-1, 4), anchors.repeat(6, 1), *LEVEL)
    assert torch.equal(boxes.reshape(-1, 4), flat)


@given(deltas=BOXES)
@examples(50)
def test_decoded_boxes_are_never_nan_and_clipped_on_one_side(deltas):
    boxes = decode_boxes(as_boxes(deltas), torch.tensor(ANCHOR), *LEVEL)
    assert not boxes.isnan().any()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= LEVEL[0] - 1).all()
    assert (boxes[:, 3] <= LEVEL[1] - 1).all()


@pytest.mark.parametrize(
    ("box1", "box2", "expected"),
    [
        ((0, 0, 9, 9), (0, 0, 9, 9), 1.0),
        ((0, 0, 9, 9), (0, 0, 9, 19), 0.5),  # 100 / (100 + 200 - 100)
        ((0, 0, 9, 9), (5, 5, 14, 14), 25 / 175),  # 5 x 5 / (100 + 100 - 25)
        ((0, 0, 9, 9), (9, 9, 18, 18), 1 / 199),  # inclusive corners: one pixel is shared
        ((0, 0, 9, 9), (10, 0, 19, 9), 0.0),
        ((0, 0, 9, 9), (9, 9, 4, 4), 0.0),  # inverted, 9 > 4: width 4 - 9 + 1 < 0
        ((5, 5, 5, 5), (5, 5, 5, 5), 1.0),  # one pixel
        ((5, 5, 4, 4), (5, 5, 4, 4), NAN),  # no pixel: 0 / 0
        ((NAN, 0, 9, 9), (0, 0, 9, 9), NAN),
        ((INF, 0, INF, 9), (0, 0, 9, 9), NAN),  # its width is inf - inf
        ((0, 0, INF, 9), (0, 0, INF, 9), NAN),  # inf / (inf - inf)
    ],
)
def test_iou_of_two_boxes(box1, box2, expected):
    iou = pairwise_iou(as_boxes([box1]), as_boxes([box2]))
    torch.testing.assert_close(iou, torch.tensor([[expected]]), equal_nan=True)


def assert_iou_bits(boxes1, boxes2):
    expected = [[reference_iou(a, b) for b in boxes2] for a in boxes1]
    iou = pairwise_iou(as_boxes(boxes1), as_boxes(boxes2)).numpy()
    np.testing.assert_array_equal(iou, np.reshape(np.float32(expected), iou.shape))


@given(boxes1=BOXES, boxes2=BOXES)
@examples(80)
def test_iou_has_the_bits_of_plain_float32_arithmetic(boxes1, boxes2):
    assert_iou_bits(boxes1, boxes2)


def test_iou_has_these_bits_for_fractions_of_pixels():
    # Small numbers show each rounding: (x2 + 1) - x1 is not (x2 - x1) + 1.
    boxes = np.random.default_rng(4).uniform((0, 0, 1, 1), (1, 1, 3, 3), (30, 4)).tolist()
    assert_iou_bits(boxes, boxes)


def test_iou_broadcasts_over_leading_dimensions():
    corners = torch.rand(2, 3, 5, 2, generator=torch.Generator().manual_seed(2)) * 50
    boxes = torch.cat([corners, corners + 20], dim=-1)
    iou = pairwise_iou(boxes, boxes[:1, :, :2])
    assert iou.shape == (2, 3, 5, 2)
    assert torch.equal(iou[1, 2], pairwise_iou(boxes[1, 2], boxes[0, 2, :2]))
