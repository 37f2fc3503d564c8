"""Anchors matched with boxes, against slow loops; deltas against the decoder."""

import math

import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from training.targets import (
    BACKGROUND,
    IGNORED,
    encode_boxes,
    flatten_heads,
    match_upright,
    place_anchors,
)

from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES, generate_anchors
from odtk_ray.ops.boxes import decode_boxes
from odtk_ray.ops.decode_heads import decode_heads

STRIDES = (8, 16, 32, 64, 128)


def level_anchors():
    return [generate_anchors(s, DEFAULT_RATIOS, DEFAULT_SCALES, "current") for s in STRIDES]


def random_boxes(seed, count, extent=256.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * (extent - 80)
    size = 5 + torch.rand(count, 2, generator=generator) * 75
    return torch.cat([corner, corner + size], dim=1)


def slow_iou(a, b):
    """Pixels in common over pixels covered, both corners inclusive."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    inner = max(width, 0) * max(height, 0)
    area_a, area_b = ((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return inner / (area_a + area_b - inner)


def test_encode_boxes_by_hand():
    # Anchor of 10 x 20 pixels with centre (5, 10); box of 20 x 10 pixels with centre (20, 15).
    anchor = torch.tensor([0.0, 0, 9, 19])
    box = torch.tensor([10.0, 10, 29, 19])
    expected = [(20 - 5) / 10, (15 - 10) / 20, math.log(2), math.log(0.5)]
    assert encode_boxes(box, anchor).tolist() == pytest.approx(expected)


@given(st.integers(0, 2**32), st.integers(0, 30))
@examples(40)
def test_decoding_gives_back_what_was_encoded(seed, count):
    boxes = random_boxes(seed, count)
    anchors = random_boxes(seed + 1, count)
    decoded = decode_boxes(encode_boxes(boxes, anchors), anchors, 257, 257)
    assert torch.allclose(decoded, boxes, atol=1e-3)


def match(anchors, boxes):
    """The targets of one tile whose boxes are all of class 0."""
    labels, deltas = match_upright(anchors, [boxes], [torch.zeros(len(boxes), dtype=torch.long)])
    return labels[0], deltas[0]


@pytest.mark.parametrize("count", [0, 1, 12])
def test_matching_does_what_slow_loops_do(count):
    anchors = place_anchors(level_anchors(), STRIDES, 128, 256)
    boxes = random_boxes(count, count, extent=128.0)
    labels, wanted = match(anchors, boxes)
    assert wanted.shape == anchors.shape
    for i, anchor in enumerate(anchors.tolist()):
        overlaps = [slow_iou(anchor, box) for box in boxes.tolist()]
        best = max(overlaps, default=0.0)
        if min(abs(best - limit) for limit in (0.4, 0.5)) < 1e-6:
            continue  # float32 may fall on either side
        assert labels[i] == (0 if best >= 0.5 else IGNORED if best >= 0.4 else BACKGROUND)
        if labels[i] == 0:
            nearest = boxes[overlaps.index(best)]
            assert torch.allclose(wanted[i], encode_boxes(nearest, anchors[i]))
    assert set(labels.tolist()) == ({0, BACKGROUND, IGNORED} if count else {BACKGROUND})


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        # A box of n of the anchor's 10 columns has IoU n / 10: 0.5 is foreground, 0.4 does not
        # count.
        (3, BACKGROUND),
        (4, IGNORED),
        (5, 0),
        (10, 0),
    ],
)
def test_matching_at_its_limits(side, expected):
    anchor = torch.tensor([[0.0, 0, 9, 9]])
    box = torch.tensor([[0.0, 0, side - 1, 9]])
    assert match(anchor, box)[0].tolist() == [expected]


def test_every_tile_has_its_own_boxes_and_classes():
    anchors = place_anchors(level_anchors(), STRIDES, 128, 128)
    boxes = [random_boxes(1, 3, 128.0), torch.empty(0, 4), random_boxes(2, 5, 128.0)]
    classes = [torch.tensor([2, 0, 1]), torch.empty(0, dtype=torch.long), torch.arange(5) % 3]
    labels, deltas = match_upright(anchors, boxes, classes)
    assert labels.shape == (3, len(anchors))
    assert deltas.shape == (3, len(anchors), 4)
    for tile in range(3):
        alone = match_upright(anchors, [boxes[tile]], [classes[tile]])
        assert torch.equal(labels[tile], alone[0][0])
        assert torch.equal(deltas[tile], alone[1][0])
    assert {0, 1, 2} <= set(labels[2].tolist())
    assert set(labels[1].tolist()) == {BACKGROUND}


def test_place_anchors_counts_and_first_cells():
    placed = place_anchors(level_anchors(), STRIDES, 256, 128)
    # 9 * (32 * 16 + 16 * 8 + 8 * 4 + 4 * 2 + 2 * 1)
    assert placed.shape == (9 * 682, 4)
    assert placed[0].tolist() == [-12, -12, 20, 20]
    assert placed[9].tolist() == [-4, -12, 28, 20]  # one cell to the right
    assert placed[9 * 32].tolist() == [-12, -4, 20, 28]  # first cell of the second row
    assert placed[9 * 32 * 16].tolist() == [-24, -24, 40, 40]  # stride 16


def test_rows_of_the_heads_and_of_the_anchors_belong_together():
    """Heads that say what is wanted make the decoder find the box from every row."""
    boxes = torch.tensor([[20.0, 30, 59, 79]])
    anchors = level_anchors()
    placed = place_anchors(anchors, STRIDES, 256, 128)
    labels, wanted = match(placed, boxes)
    target = (labels == 0).float()
    model = RetinaNet(["MobileNetV2FPN"], 1, channels=4)
    logits, deltas = (
        [torch.zeros_like(level) for level in head] for head in model(torch.zeros(1, 3, 128, 256))
    )
    # Writes into the levels by way of the flat rows: permuted views share their memory.
    start = 0
    for level_logits, level_deltas in zip(logits, deltas, strict=True):
        height, width = level_logits.shape[2:]
        stop = start + height * width * 9
        rows = target[start:stop].view(height, width, 9).permute(2, 0, 1)
        level_logits[0] = rows
        values = wanted[start:stop].view(height, width, 36).permute(2, 0, 1)
        level_deltas[0] = values
        start = stop
    assert torch.equal(flatten_heads(logits, 1)[0, :, 0], target)
    assert torch.equal(flatten_heads(deltas, 4)[0], wanted)
    scores, found, _ = decode_heads(logits, deltas, anchors, STRIDES, threshold=0.5, top_n=1000)
    found = found[scores > 0]
    assert len(found) == target.sum() > 5
    assert torch.allclose(found, boxes.expand_as(found), atol=1e-3)
