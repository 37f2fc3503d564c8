"""Rotated boxes on the GPU against `ops`: decoding, their IoU in float64, and suppression."""

import math

import numpy as np
import pytest
import torch
from launches import Heads, candidates, detections, fetch, on_stream, poisoned

from cuda_ops import Level, Postprocess, RotatedIou
from odtk_ray.ops.rotated import rotated_iou, same_angle_iou

pytestmark = pytest.mark.gpu

ERROR = 1e-5  # of the float32 IoU
SMALL = [(13, 21), (7, 11), (4, 6), (2, 3), (1, 1)]
AERIAL = [(96, 96), (48, 48), (24, 24), (12, 12), (6, 6)]  # 768x768


def turned(middle, sides, theta):
    """float32 [..., 6] from centres [..., 2], sides [..., 2] and angles [...]."""
    parts = [middle - sides / 2, middle + sides / 2, np.sin(theta)[..., None]]
    return np.concatenate([*parts, np.cos(theta)[..., None]], axis=-1).astype(np.float32)


def random_pairs(rng, count, longest=2000):
    """float32 [N, 6] twice: sides from 2 px, half of the pairs alike."""
    sides = np.exp(rng.uniform(math.log(2), math.log(longest), (2, count, 2)))
    middle = np.repeat(rng.uniform(0, 4000, (1, count, 2)), 2, axis=0)
    theta = rng.uniform(-math.pi, math.pi, (2, count))
    middle[1] += rng.normal(0, 0.3, (count, 2)) * sides[0]
    alike = rng.random(count) < 0.5
    sides[1, alike] = sides[0, alike] * np.exp(rng.normal(0, 0.1, (alike.sum(), 2)))
    theta[1, alike] = theta[0, alike] + rng.normal(0, 0.1, alike.sum())
    return turned(middle, sides, theta)


def special_pairs(rng, count):
    """Kinds of pairs: equal, touching, contained, without an area, and others.

    The sides go to 500 px. Where equal boxes are turned by a quarter, x1 of one is far from x1 of
    the other, and float32 rounds the distance: up to 250 px, by 0.8e-5. Across a box 2 px wide this
    moves the IoU by as much.
    """
    boxes, others = random_pairs(rng, count, longest=500)
    theta = np.arctan2(boxes[:, 4], boxes[:, 5])
    middle, sides = (boxes[:, :2] + boxes[:, 2:4]) / 2, boxes[:, 2:4] - boxes[:, :2]
    along = np.stack([np.cos(theta), np.sin(theta)], axis=-1) * sides[:, :1]
    quarter = turned(middle, sides[:, ::-1], theta + math.pi / 2)
    flat, inverted, odd = boxes.copy(), boxes.copy(), boxes.copy()
    flat[:, 2] = flat[:, 0]
    inverted[:, [0, 2]] = inverted[:, [2, 0]]
    places = rng.random(odd.shape) < 0.3
    odd[places] = rng.choice([np.nan, np.inf, -np.inf], places.sum())
    kinds = {
        "equal": boxes,
        "the same, turned by a quarter": quarter,
        "side by side": turned(middle + along, sides, theta),
        "contained": turned(middle, sides / 3, theta),
        "contained and turned": turned(middle, np.full_like(sides, sides.min() / 3), theta + 1),
        "flat": flat,
        "a point": turned(middle, np.zeros_like(sides), theta),
        "inverted": inverted,
        "odd": odd,
    }
    for kind, seconds in kinds.items():
        yield kind, boxes, seconds
        yield f"{kind}, exchanged", seconds, boxes
    yield "odd against odd", odd, odd[::-1]
    yield "flat against flat", flat, flat
    level = np.round(np.concatenate([boxes[:, :4], np.zeros_like(boxes[:, 4:])], axis=1))
    level[:, 5] = 1
    yield "upright, in whole pixels", level, level + np.float32([3, 0, 3, 0, 0, 0])
    yield "random", boxes, others


def ious_of(device, boxes1, boxes2):
    """What the kernel finds, and the definition in float64; on the GPU."""
    boxes1, boxes2 = (np.ascontiguousarray(boxes) for boxes in (boxes1, boxes2))
    held = [device.alloc(boxes.nbytes) for boxes in (boxes1, boxes2)]
    out = device.alloc(4 * len(boxes1))
    for buffer, boxes in zip(held, (boxes1, boxes2), strict=True):
        device.upload(buffer.ptr, boxes)
    with poisoned(device, [out]):
        RotatedIou(device).launch(held[0].ptr, held[1].ptr, out.ptr, len(boxes1))
    found = fetch(device, out, (len(boxes1),), np.float32)
    exact = (torch.from_numpy(boxes).cuda().double() for boxes in (boxes1, boxes2))
    return found, rotated_iou(*exact)


def test_iou_of_a_million_pairs(device, rng):
    with on_stream(device):
        for _ in range(4):
            found, expected = ious_of(device, *random_pairs(rng, 250_000))
            assert (expected > 0.5).double().mean() > 0.05
            assert (found.double() - expected).abs().max() <= ERROR


def test_iou_of_special_pairs(device, rng):
    with on_stream(device):
        for kind, boxes1, boxes2 in special_pairs(rng, 2_000):
            found, expected = ious_of(device, boxes1, boxes2)
            assert ((found >= 0) & (found <= 1)).all(), kind
            assert (found.double() - expected).abs().max() <= ERROR, kind


@pytest.mark.parametrize("pattern", ["none", "few", "many", "all", "ties", "odd"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_decoding_is_that_of_ops(device, rng, pattern, dtype, channels_last):
    heads = Heads(
        rng,
        SMALL,
        batch=3,
        classes=5,
        pattern=pattern,
        dtype=dtype,
        logits=False,
        channels_last=channels_last,
        rotated="own",
    )
    with on_stream(device):
        post = heads.postprocess(device)
        scores, boxes, classes = candidates(device, post, heads, 100)
        expected = heads.expected_candidates()
    assert (scores > 0).any() == (pattern != "none")
    assert torch.equal(scores, expected[0])
    assert torch.equal(classes, expected[2].int())
    torch.testing.assert_close(boxes, expected[1], rtol=1e-4, atol=1e-4)
    length = torch.hypot(boxes[..., 4], boxes[..., 5])[scores > 0]
    torch.testing.assert_close(length, torch.ones_like(length))


def assert_suppressed_as_ops_does(found, columns, *, rotated, threshold):
    """Detections of one image are those of `ops.nms`, which compares in float64.

    Greedy suppression is followed box by box. Only where a comparison lies within ERROR of the
    threshold may the kernel decide otherwise: there what it decided is taken over, and what follows
    from it must be right again.

    Args:
        found: scores [D], boxes [D, 6] and classes [D] of the kernel.
        columns: scores [N], boxes [N, 6] and classes [N] of the candidates, in any order.
        rotated: which angles are compared.
        threshold: of the IoU.

    Returns:
        how many candidates were in doubt.
    """
    scores, order = columns[0].where(columns[0] > 0, 0).sort(descending=True, stable=True)
    boxes, classes = columns[1][order], columns[2][order]
    count = int((scores > 0).sum())
    rows, kept_rows = (
        torch.cat([s[:, None].view(torch.int32), b.view(torch.int32), c[:, None]], dim=1)
        .cpu()
        .numpy()
        for s, b, c in ((scores, boxes, classes), found)
    )
    measure = rotated_iou if rotated == "own" else same_angle_iou
    exact = boxes.double()
    lost, doubtful = np.zeros(count, bool), np.zeros(count, bool)
    doubts = kept = 0
    for row in range(count):
        if kept == len(kept_rows):
            break
        if lost[row]:
            continue
        same = np.array_equal(rows[row], kept_rows[kept])
        if doubtful[row]:
            doubts += 1
            if not same:
                continue
        assert same, f"candidate {row} is no detection, as number {kept}"
        kept += 1
        ious = measure(exact[row], exact[:count]).where(classes[:count] == classes[row], -1)
        lost |= (ious > threshold + ERROR).cpu().numpy()
        doubtful |= ((ious - threshold).abs() <= ERROR).cpu().numpy()
    assert not kept_rows[kept:].any()
    return doubts


def crowded_boxes(rng, batch, count, kind):
    """float32 [B, N, 6] around a few centres, so that many overlap."""
    centres = rng.uniform(0, 700, (batch, 1 + count // 40, 2))
    chosen = rng.integers(0, centres.shape[1], (batch, count))
    middle = np.take_along_axis(centres, chosen[..., None], 1) + rng.normal(0, 6, (batch, count, 2))
    sides = np.exp(rng.uniform(math.log(8), math.log(200), (batch, count, 2)))
    boxes = turned(middle, sides, rng.normal(0, 1, (batch, count)))
    if kind == "upright":  # in whole pixels: many IoUs are equal, and some lie on the threshold
        middle, sides = np.round(middle / 8) * 8, np.round(sides / 16) * 16
        boxes = turned(middle, sides, np.zeros((batch, count)))
    if kind == "identical":
        boxes[:] = boxes[:, :1]
    if kind == "odd":
        odd = rng.choice([np.nan, np.inf, -np.inf, -50.0, 0.0], boxes.shape)
        odd[..., 4:] = rng.choice([np.nan, np.inf], odd[..., 4:].shape)  # else of length 1
        boxes = np.where(rng.random(boxes.shape) < 0.02, odd, boxes).astype(np.float32)
        inverted = rng.random((batch, count, 1)) < 0.05
        boxes = np.where(inverted, boxes[..., [2, 1, 0, 3, 4, 5]], boxes)
    return boxes


@pytest.mark.parametrize("kind", ["plain", "upright", "identical", "odd"])
@pytest.mark.parametrize("rotated", ["own", "odtk"])
@pytest.mark.parametrize(
    ("batch", "count", "classes", "kept", "threshold"),
    [
        (1, 1, 1, 1, 0.5),
        (3, 31, 2, 100, 0.5),
        (2, 1000, 1, 100, 0.5),
        (8, 5000, 15, 100, 0.5),
        (2, 5000, 1, 300, 0.3),
        (2, 4000, 3, 1000, 0.8),
        (16, 300, 5, 7, 0.05),
        (2, 1100, 4, 1100, 1.0),
    ],
)
def test_suppression_is_that_of_ops(
    device, rng, kind, rotated, batch, count, classes, kept, threshold
):
    scores = rng.uniform(0.05, 1, (batch, count)).astype(np.float32)
    scores = np.where(rng.random(scores.shape) < 0.3, np.float32(0.25), scores)
    unused = rng.choice(np.float32([0, -1, np.nan]), scores.shape)
    scores = np.where(rng.random(scores.shape) < 0.1, unused, scores)
    labels = rng.integers(0, classes, (batch, count)).astype(np.int32)
    with on_stream(device):
        columns = [
            torch.from_numpy(column).cuda()
            for column in (scores, crowded_boxes(rng, batch, count, kind), labels)
        ]
        post = Postprocess(
            device,
            [Level(1, 1, 8, np.zeros((1, 4), np.float32))],
            batch=batch,
            classes=classes,
            threshold=0.05,
            top_n=count,
            nms=threshold,
            detections=kept,
            dtype="float32",
            logits=False,
            channels_last=False,
            rotated=rotated,
        )
        with poisoned(device, [post.scores, post.boxes, post.classes]):
            post.suppress(*(column.data_ptr() for column in columns))
        found = detections(device, post, batch, kept)
        doubts = sum(
            assert_suppressed_as_ops_does(
                [column[image] for column in found],
                [column[image] for column in columns],
                rotated=rotated,
                threshold=threshold,
            )
            for image in range(batch)
        )
    if kind == "plain":
        assert doubts <= 0.001 * batch * count


@pytest.mark.parametrize("rotated", ["own", "odtk"])
def test_the_chain_at_the_size_of_use(device, rng, rotated):
    """768x768, 27 anchors, 15 classes, thousands of candidates an image; as a graph too."""

    def make():
        return Heads(
            rng,
            AERIAL,
            batch=8,
            classes=15,
            pattern="few",
            dtype="float16",
            logits=True,
            channels_last=True,
            rotated=rotated,
        )

    heads = make()
    with on_stream(device):
        post = heads.postprocess(device, top_n=1000, detections=100)
        post.launch(*heads.pointers())
        device.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        post.launch(*heads.pointers())
        graph.capture_end()
        for _ in range(2):
            fresh = make()
            for target, source in zip(
                heads.scores + heads.deltas, fresh.scores + fresh.deltas, strict=True
            ):
                target.copy_(source)
            with poisoned(device, [post.scores, post.boxes, post.classes]):
                graph.replay()
            found = detections(device, post, 8, 100)
            columns = candidates(device, post, heads, 1000)
            expected = heads.expected_candidates(top_n=1000)
            assert torch.equal(columns[0], expected[0])
            torch.testing.assert_close(columns[1], expected[1], rtol=1e-4, atol=1e-4)
            assert ((columns[0] > 0).sum(dim=1) > 2000).all()
            for image in range(8):
                assert_suppressed_as_ops_does(
                    [column[image] for column in found],
                    [column[image] for column in columns],
                    rotated=rotated,
                    threshold=0.5,
                )
