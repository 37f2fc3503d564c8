"""Turned anchors matched with turned boxes: against shapely, slow loops, and the decoder."""

import math

import pytest
import shapely
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from training.rotated_targets import (
    describe_from,
    encode_rotated,
    match_rotated,
    overlap,
    turn_anchors,
)
from training.targets import BACKGROUND, IGNORED, place_anchors

from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.ops.decode_heads import decode_heads
from odtk_ray.ops.rotated import corners, decode_rotated

STRIDES = (8, 16, 32, 64, 128)
RATIOS = (1.0, 3.5, 1 / 3.5)
SCALES = (2.5, 3.15, 3.97)
ANGLES = (-math.pi / 6, 0.0, math.pi / 6)
SEEDS = st.integers(0, 2**32)


def level_anchors():
    return [generate_anchors(s, RATIOS, SCALES, "legacy", ANGLES) for s in STRIDES]


def placed(width=128, height=128):
    return place_anchors(
        [turn_anchors(level, ANGLES) for level in level_anchors()], STRIDES, width, height
    )


def random_boxes(seed, count, extent=128.0, longest=110.0):
    generator = torch.Generator().manual_seed(seed)
    w, h, theta, x, y = torch.rand(5, count, generator=generator)
    w, h, theta = 16 + w * (longest - 16), 16 + h * 40, (2 * theta - 1) * math.pi
    centre = 20 + torch.stack([x, y], dim=1) * (extent - 40)
    half = torch.stack([w, h], dim=1) / 2
    direction = torch.stack([theta.sin(), theta.cos()], dim=1)
    return torch.cat([centre - half, centre + half, direction], dim=1)


def corner_set(boxes):
    """Corners in an order that does not depend on the description."""
    points = corners(boxes.double())
    middle = points.mean(dim=-2, keepdim=True)
    around = torch.atan2(*(points - middle).flip(-1).unbind(-1))
    return points.gather(-2, around.argsort(dim=-1)[..., None].expand_as(points))


def slow_overlap(anchors, boxes):
    """By shapely's polygons, of rows that broadcast."""
    a, b = (shapely.polygons(corners(v.double()).numpy()) for v in (anchors, boxes))
    shared = shapely.area(shapely.intersection(a, b))
    iou = shared / (shapely.area(a) + shapely.area(b) - shared)
    theta = [torch.atan2(v[..., 4], v[..., 5]).rad2deg().numpy() for v in (anchors, boxes)]
    away = (theta[0] - theta[1] + 45) % 90 - 45
    return torch.from_numpy(iou * (abs(away) < 30))


def test_turned_anchors_repeat_the_sizes_for_each_angle():
    level = level_anchors()[1]
    turned = turn_anchors(level, ANGLES)
    assert turned.shape == (27, 6)
    assert torch.equal(turned[:, :4], level)
    theta = torch.atan2(turned[:, 4], turned[:, 5])
    assert theta.tolist() == pytest.approx([angle for angle in ANGLES for _ in range(9)])


def test_place_anchors_moves_corners_and_leaves_angles():
    anchors = placed(256, 128)
    assert anchors.shape == (27 * 682, 6)
    level = turn_anchors(level_anchors()[0], ANGLES)
    moved = level + torch.tensor([8.0, 0, 8, 0, 0, 0])
    assert torch.equal(anchors[27:54], moved)  # one cell to the right


@pytest.mark.parametrize(
    ("box", "anchor", "expected"),
    [
        # (centre x, centre y, w, h, degrees), the anchor's degrees
        ((50, 40, 30, 10, 20), 0, (30, 10, 20)),
        ((50, 40, 30, 10, 70), 0, (10, 30, -20)),  # a quarter back
        ((50, 40, 30, 10, -70), 0, (10, 30, 20)),
        ((50, 40, 30, 10, 160), 0, (30, 10, -20)),  # half a turn back
        ((50, 40, 30, 10, 70), 30, (30, 10, 70)),
        ((50, 40, 30, 10, 80), 30, (10, 30, -10)),
        ((50, 40, 30, 10, -120), 30, (30, 10, 60)),
        ((50, 40, 30, 10, 180), -30, (30, 10, 0)),
    ],
)
def test_describe_from_by_hand(box, anchor, expected):
    def rotated(x, y, w, h, degrees):
        theta = math.radians(degrees)
        ends = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        return torch.tensor([*ends, math.sin(theta), math.cos(theta)])

    found = describe_from(rotated(*box), rotated(0, 0, 1, 1, anchor))
    assert found.tolist() == pytest.approx(rotated(*box[:2], *expected).tolist(), abs=1e-5)


@given(SEEDS, st.integers(0, 40))
@examples(40)
def test_descriptions_are_of_the_same_rectangle_and_at_most_an_eighth_away(seed, count):
    boxes, anchors = random_boxes(seed, count), random_boxes(seed + 1, count)
    found = describe_from(boxes, anchors)
    assert torch.allclose(corner_set(found), corner_set(boxes), atol=1e-4)
    away = torch.atan2(found[:, 4], found[:, 5]) - torch.atan2(anchors[:, 4], anchors[:, 5])
    assert (torch.cos(away) >= math.cos(math.pi / 4) - 1e-5).all()
    again = describe_from(found, anchors)
    clear = (torch.cos(away) > math.cos(math.pi / 4) + 1e-4).nonzero()[:, 0]
    assert torch.allclose(again[clear], found[clear], atol=1e-4)


@given(SEEDS, st.integers(0, 30))
@examples(40)
def test_decoding_gives_back_the_rectangles_that_were_encoded(seed, count):
    anchors = random_boxes(seed + 1, count)
    boxes = random_boxes(seed, count, longest=40.0)
    boxes[:, :4] += 100  # decoding clips at 0 and at the picture's end
    decoded = decode_rotated(encode_rotated(boxes, anchors), anchors[:, :4], 400, 400)
    assert torch.allclose(corner_set(decoded), corner_set(boxes), atol=2e-3)


@given(SEEDS)
@examples(30)
def test_overlap_is_shapelys_iou_within_thirty_degrees(seed):
    boxes, anchors = random_boxes(seed, 20), random_boxes(seed + 1, 20)
    expected = slow_overlap(anchors, boxes).float()
    assert torch.allclose(overlap(anchors, boxes), expected, atol=1e-4)


def test_overlap_does_not_depend_on_the_description():
    boxes, anchors = random_boxes(3, 50), random_boxes(4, 50)
    expected = overlap(anchors, boxes)
    for turn in (anchors, boxes.flip(0)):
        assert torch.allclose(overlap(anchors, describe_from(boxes, turn)), expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_matching_does_what_slow_loops_do(count):
    anchors = placed()
    boxes, classes = random_boxes(count, count), torch.arange(count) % 4
    labels, deltas = match_rotated(anchors, [boxes], [classes])
    fits = slow_overlap(anchors[:, None], boxes)
    limits = [min(0.5, 0.6 * fits[:, j].max().item()) for j in range(count)]
    assert min(limits) * 0.8 > 0.15  # pairs below are not measured
    seen = set()
    for i, row in enumerate(fits.tolist()):
        relative = [fit / limit for fit, limit in zip(row, limits, strict=True)]
        best = max(relative)
        others = [value for value in relative if value < best]
        near_limit = min(abs(best - limit) for limit in (0.8, 1)) < 1e-3
        if near_limit or (others and 0 < best - max(others) < 1e-3):
            continue  # float32 may fall on either side
        wanted = BACKGROUND if best < 0.8 else IGNORED
        if best >= 1:
            nearest = relative.index(best)
            wanted = int(classes[nearest])
            expected = encode_rotated(boxes[nearest], anchors[i])
            assert torch.allclose(deltas[0, i], expected, atol=1e-4)
        assert labels[0, i] == wanted
        seen.add(wanted)
    assert {BACKGROUND, IGNORED, 0} <= seen


@given(
    st.floats(16, 200),
    st.floats(1.5, 8),
    st.floats(-math.pi, math.pi),
    st.floats(0, 128),
    st.floats(0, 128),
)
@examples(30)
def test_every_box_is_learned_from(shorter, aspect, theta, x, y):
    w, h = min(200.0, shorter * aspect), min(shorter, 200 / aspect)
    ends = [64 + x - w / 2, 64 + y - h / 2, 64 + x + w / 2, 64 + y + h / 2]
    box = torch.tensor([[*ends, math.sin(theta), math.cos(theta)]])
    anchors = placed(256, 256)
    labels, _ = match_rotated(anchors, [box], [torch.tensor([3])])
    near = (labels[0] == 3).nonzero()[:, 0]
    assert len(near) >= 2
    # No anchor has to learn a description that is further away
    found = describe_from(box.expand(len(near), 6), anchors[near])
    away = torch.atan2(found[:, 4], found[:, 5]) - torch.atan2(anchors[near, 4], anchors[near, 5])
    assert (away.abs() < math.radians(30) + 1e-4).all()


def test_tiles_are_matched_apart_and_may_be_empty():
    anchors = placed()
    boxes = [random_boxes(1, 3), torch.empty(0, 6), random_boxes(2, 5)]
    classes = [torch.tensor([2, 0, 1]), torch.empty(0, dtype=torch.long), torch.arange(5) % 3]
    labels, deltas = match_rotated(anchors, boxes, classes)
    for tile in range(3):
        alone = match_rotated(anchors, [boxes[tile]], [classes[tile]])
        assert torch.equal(labels[tile], alone[0][0])
        assert torch.equal(deltas[tile], alone[1][0])
    assert set(labels[1].tolist()) == {BACKGROUND}
    assert not deltas[1].any()


def test_a_box_far_from_all_anchors_changes_nothing():
    far = torch.tensor([[900.0, 900, 950, 920, 0, 1]])
    labels, _ = match_rotated(placed(), [far], [torch.tensor([0])])
    assert set(labels[0].tolist()) == {BACKGROUND}


def test_rows_of_the_heads_and_of_the_anchors_belong_together():
    """Heads that say what is wanted make the decoder find the box from every row."""
    boxes = torch.tensor([[70.0, 40, 129, 69, math.sin(2.0), math.cos(2.0)]])
    labels, wanted = match_rotated(placed(256, 128), [boxes], [torch.tensor([1])])
    model = RetinaNet(["MobileNetV2FPN"], 2, anchors=27, box_values=6, channels=4)
    logits, deltas = (
        [torch.zeros_like(level) for level in head] for head in model(torch.zeros(1, 3, 128, 256))
    )
    start = 0
    for level_logits, level_deltas in zip(logits, deltas, strict=True):
        height, width = level_logits.shape[2:]
        stop = start + height * width * 27
        scores = torch.nn.functional.one_hot(labels[0, start:stop].clamp(min=-1) + 1, 3)[:, 1:]
        level_logits[0] = scores.reshape(height, width, 54).permute(2, 0, 1)
        level_deltas[0] = wanted[0, start:stop].view(height, width, 162).permute(2, 0, 1)
        start = stop
    scores, found, classes = decode_heads(
        logits, deltas, level_anchors(), STRIDES, threshold=0.5, top_n=1000, rotated=True
    )
    found, classes = found[scores > 0], classes[scores > 0]
    assert len(found) == (labels == 1).sum() > 5
    assert (classes == 1).all()
    expected = corner_set(boxes).expand(len(found), 4, 2)
    assert torch.allclose(corner_set(found), expected, atol=2e-3)
