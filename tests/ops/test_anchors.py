"""Anchors against the values that ODTK gives, current and legacy."""

import pytest
import torch

from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES, generate_anchors
from odtk_ray.ops.boxes import decode_boxes, pairwise_iou

# Corners are 4 -+ side / 2 with side = 8 * scale, times sqrt(1 / r) for the width and sqrt(r) for
# the height; scales 4, 5.0397, 6.3496.
#   ratio 1, scale 4: 4 -+ 32 / 2;  ratio 2: 4 -+ 22.6274 / 2 and 4 -+ 45.2548 / 2
CURRENT_8 = [
    (-12, -12, 20, 20),
    (-7.3137, -18.6274, 15.3137, 26.6274),
    (-18.6274, -7.3137, 26.6274, 15.3137),
    (-16.1587, -16.1587, 24.1587, 24.1587),
    (-10.2544, -24.5088, 18.2544, 32.5088),
    (-24.5088, -10.2544, 32.5088, 18.2544),
    (-21.3984, -21.3984, 29.3984, 29.3984),
    (-13.9594, -31.9188, 21.9594, 39.9188),
    (-31.9188, -13.9594, 39.9188, 21.9594),
]
# Sides are rounded before scaling, (8, 8), (6, 12) and (11, 6), and the far corner loses 1.
#   ratio 2, scale 4: 4 - 24 / 2 = -8 and 4 + 24 / 2 - 1 = 15; 4 - 48 / 2 = -20 and 27
LEGACY_8 = [
    (-12, -12, 19, 19),
    (-8, -20, 15, 27),
    (-18, -8, 25, 15),
    (-16.1587, -16.1587, 23.1587, 23.1587),
    (-11.1191, -26.2381, 18.1191, 33.2381),
    (-23.7183, -11.1191, 30.7183, 18.1191),
]


def default_anchors(stride, generation):
    return generate_anchors(stride, DEFAULT_RATIOS, DEFAULT_SCALES, generation)


@pytest.mark.parametrize(
    ("ratios", "scales", "count"), [((), (), 0), ((1.0,), (), 0), ((1.0,), (4.0,), 1)]
)
def test_there_is_an_anchor_for_each_ratio_and_scale(ratios, scales, count):
    anchors = generate_anchors(8, ratios, scales, "current")
    assert anchors.shape == (count, 4)
    assert anchors.dtype == torch.float32


@pytest.mark.parametrize(("generation", "golden"), [("current", CURRENT_8), ("legacy", LEGACY_8)])
def test_golden_table_at_stride_8(generation, golden):
    anchors = default_anchors(8, generation)
    assert anchors.shape == (9, 4)
    torch.testing.assert_close(
        anchors[: len(golden)], torch.tensor(golden).float(), atol=5e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("stride", "sizes"),  # round(stride / sqrt(r)), and round(that * r), for r = 1, 2, 1/2
    [
        (8, [(8, 8), (6, 12), (11, 6)]),  # 8 / 1.414 = 5.66; 8 * 1.414 = 11.31, 5.5 goes to even
        (16, [(16, 16), (11, 22), (23, 12)]),  # 11.31; 22.63, 11.5 goes to even
        (32, [(32, 32), (23, 46), (45, 22)]),  # 22.63; 45.25, 22.5 goes to even
        (64, [(64, 64), (45, 90), (91, 46)]),  # 45.25; 90.51, 45.5 goes to even
        (128, [(128, 128), (91, 182), (181, 90)]),  # 90.51; 181.02, 90.5 goes to even
    ],
)
def test_legacy_sides_are_rounded_half_to_even(stride, sizes):
    anchors = generate_anchors(stride, DEFAULT_RATIOS, (1.0,), "legacy")
    assert (anchors[:, 2:] - anchors[:, :2] + 1).tolist() == [list(size) for size in sizes]


def test_legacy_width_is_rounded_half_to_even_before_the_height_is_made():
    x1, y1, x2, y2 = generate_anchors(5, (4.0,), (1.0,), "legacy")[0].tolist()
    assert (x2 - x1 + 1, y2 - y1 + 1) == (2, 8)  # sqrt(25 / 4) = 2.5 goes to 2; 2 * 4


def test_ratio_is_fastest_and_height_over_width():
    sides = generate_anchors(16, (1.0, 4.0), (2.0, 3.0), "current")
    widths_heights = (sides[:, 2:] - sides[:, :2]).tolist()
    # 16 * 2 = 32; ratio 4: width 32 / 2, height 32 * 2; then the same for 16 * 3 = 48
    assert widths_heights == [[32, 32], [16, 64], [48, 48], [24, 96]]


@pytest.mark.parametrize(
    ("stride", "lowest", "highest"),
    [
        (8, 0.913, 0.962),
        (16, 0.915, 0.981),
        (32, 0.951, 0.990),
        (64, 0.981, 0.995),
        (128, 0.990, 0.998),
    ],
)
def test_how_far_the_generations_are_apart(stride, lowest, highest):
    away_from_borders = 4 * stride * torch.tensor([2.0, 2.0, 2.0, 2.0])
    current, legacy = (
        decode_boxes(torch.zeros(9, 4), default_anchors(stride, g) + away_from_borders, 9999, 9999)
        for g in ("current", "legacy")
    )
    iou = pairwise_iou(current, legacy).diagonal()
    assert round(iou.min().item(), 3) == lowest
    assert round(iou.max().item(), 3) == highest
