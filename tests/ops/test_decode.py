"""Decoding against one loop over every score, for selection, order and ties bit for bit."""

import math

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES, generate_anchors
from odtk_ray.ops.decode_heads import decode_heads, decode_level

THRESHOLD = float(np.float32(0.05))
JUST_ABOVE = float(np.nextafter(np.float32(0.05), np.float32(1)))
# Ties, both sides of the threshold, the threshold itself and what no sigmoid should give.
PALETTE = [0.0, -0.0, 0.04, THRESHOLD, JUST_ABOVE, 0.5, 0.5, 0.5, 0.7, 1.0]
ODD_VALUES = [math.nan, math.inf, -math.inf, -1.0]
ODD_DELTAS = [math.nan, math.inf, -math.inf, 1e30, -1e30, 90.0, -200.0]


def reference_box(delta, anchor, x, y, stride, width, height):
    """decode.cu's arithmetic, one float32 operation at a time; only exp is torch's."""
    f = np.float32
    x1, y1 = f(x * stride) + anchor[0], f(y * stride) + anchor[1]
    x2, y2 = f(x * stride) + anchor[2], f(y * stride) + anchor[3]
    w, h = x2 - x1 + f(1), y2 - y1 + f(1)
    centre_x = delta[0] * w + x1 + f(0.5) * w
    centre_y = delta[1] * h + y1 + f(0.5) * h
    box_w = f(torch.exp(torch.tensor(delta[2])).item()) * w
    box_h = f(torch.exp(torch.tensor(delta[3])).item()) * h
    return (
        np.fmax(f(0), centre_x - f(0.5) * box_w),
        np.fmax(f(0), centre_y - f(0.5) * box_h),
        np.fmin(centre_x + f(0.5) * box_w - f(1), f(width * stride - 1)),
        np.fmin(centre_y + f(0.5) * box_h - f(1), f(height * stride - 1)),
    )


def reference_decode(scores, deltas, anchors, stride, threshold, top_n):
    """For each image a list of (score, box, class): threshold, top n, boxes, index by index."""
    images = []
    _, _, height, width = scores.shape
    classes = scores.shape[1] // len(anchors)
    for image_scores, image_deltas in zip(
        scores.float().numpy(), deltas.float().numpy(), strict=True
    ):
        flat = image_scores.reshape(-1)
        chosen = [i for i in range(len(flat)) if flat[i] > np.float32(threshold)]
        if len(chosen) > top_n:
            chosen = sorted(chosen, key=lambda i: -flat[i])[:top_n]  # Python's sort is stable
        found = []
        for i in chosen:
            x, y = i % width, i // width % height
            label, a = i // (width * height) % classes, i // (width * height * classes)
            delta = image_deltas[4 * a : 4 * a + 4, y, x]
            with np.errstate(all="ignore"):
                box = reference_box(delta, anchors.numpy()[a], x, y, stride, width, height)
            found.append((flat[i], box, label))
        images.append(found)
    return images


def assert_same(result, expected):
    scores, boxes, classes = result
    assert (scores.dtype, boxes.dtype, classes.dtype) == (
        torch.float32,
        torch.float32,
        torch.int64,
    )
    assert scores.shape[1] == max((len(image) for image in expected), default=0)
    for b, image in enumerate(expected):
        n = len(image)
        np.testing.assert_array_equal(scores[b, :n].numpy(), np.float32([s for s, _, _ in image]))
        np.testing.assert_array_equal(classes[b, :n].numpy(), [c for _, _, c in image])
        expected_boxes = np.float32([box for _, box, _ in image]).reshape(-1, 4)
        np.testing.assert_array_equal(boxes[b, :n].numpy(), expected_boxes)
        assert not scores[b, n:].any()
        assert not boxes[b, n:].any()
        assert not classes[b, n:].any()


def draw(seed, batch, anchors, classes, height, width, share=0.5, odd=0.0):
    """Seeded heads: `share` of the scores from the palette, the others random and mostly low."""
    g = torch.Generator().manual_seed(seed)

    def pick(values, shape):
        return torch.tensor(values)[torch.randint(len(values), shape, generator=g)]

    def chance(shape, p):
        return torch.rand(shape, generator=g) < p

    shape = (batch, anchors * classes, height, width)
    scores = torch.rand(shape, generator=g) ** 4
    scores = torch.where(chance(shape, share), pick(PALETTE, shape), scores)
    scores = torch.where(chance(shape, odd), pick(ODD_VALUES, shape), scores)
    shape = (batch, anchors * 4, height, width)
    deltas = torch.randn(shape, generator=g)
    deltas = torch.where(chance(shape, odd), pick(ODD_DELTAS, shape), deltas)
    return scores, deltas


def anchors_of(count, stride=8):
    return generate_anchors(stride, DEFAULT_RATIOS, DEFAULT_SCALES, "current")[:count]


def trimmed(result, b):
    """One image's used slots."""
    used = result[0][b] != 0
    return [tensor[b][used] for tensor in result]


@pytest.mark.parametrize(
    ("scores", "top_n", "expected"),  # one anchor, two classes, a map of 1 x 3: flat index 0..5
    [
        ([0, 0, 0, 0, 0, 0], 3, []),
        ([0, THRESHOLD, 0, JUST_ABOVE, 0, 0], 3, [3]),  # strictly greater
        ([0.3, 0, 0.9, 0, 0, 0.5], 3, [0, 2, 5]),  # not more than top_n: index order
        ([0.3, 0.6, 0.9, 0, 0, 0.5], 3, [2, 1, 5]),  # more: best first
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 4, [0, 1, 2, 3]),  # ties: lower index
        ([0.1, 0.5, 0.9, 0.5, 0.5, 0.5], 3, [2, 1, 3]),
        ([math.nan, 0.5, math.nan, 0, 0, math.nan], 3, [1]),
        ([math.nan, 0.5, math.inf, 0.6, 0, math.nan], 2, [2, 3]),
        ([0.5, math.inf, 0.5, 1.0, 0, -math.inf], 3, [1, 3, 0]),
        ([0, 0, 0, 0, 0, 0.9], 1, [5]),
    ],
)
def test_which_scores_become_candidates_and_in_which_order(scores, top_n, expected):
    heads = torch.tensor(scores).reshape(1, 2, 1, 3), torch.zeros(1, 4, 1, 3)
    found, _, classes = decode_level(*heads, anchors_of(1), 8, threshold=0.05, top_n=top_n)
    assert found.tolist() == [[pytest.approx(scores[i], rel=1e-7) for i in expected]]
    assert classes.tolist() == [[i // 3 for i in expected]]


def test_golden_box():
    scores, deltas = torch.zeros(1, 2 * 2, 4, 6), torch.zeros(1, 2 * 4, 4, 6)
    scores[0, 1 * 2 + 1, 2, 3] = 0.9  # anchor 1, class 1, row 2, column 3
    deltas[0, 1 * 4 + 0, 2, 3] = 0.25  # dx of anchor 1
    anchors = torch.tensor([[0.0, 0.0, 1.0, 1.0], [-12.0, -4.0, 19.0, 11.0]])
    found, boxes, classes = decode_level(scores, deltas, anchors, 8, threshold=0.05, top_n=5)
    # the anchor is 32 x 16; shifted by (24, 16) it is (12, 12, 43, 27), and by 32 / 4 = 8 in x
    # (20, 12, 51, 27); the level ends at 6 * 8 - 1 = 47
    assert boxes.tolist() == [[[20.0, 12.0, 47.0, 27.0]]]
    assert classes.tolist() == [[1]]
    assert found[0].tolist() == pytest.approx([0.9])


@given(
    seed=st.integers(0, 2**32),
    batch=st.integers(1, 4),
    anchors=st.integers(1, 9),
    classes=st.integers(1, 5),
    height=st.integers(1, 7),
    width=st.integers(1, 9),
    share=st.sampled_from([0.0, 0.2, 1.0]),
    odd=st.sampled_from([0.0, 0.1, 1.0]),
    threshold=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    top_n=st.sampled_from([1, 2, 5, 12, 40, 1000]),
)
@examples(120)
def test_against_the_loop(
    seed, batch, anchors, classes, height, width, share, odd, threshold, top_n
):
    heads = draw(seed, batch, anchors, classes, height, width, share, odd)
    level = (*heads, anchors_of(anchors), 8)
    result = decode_level(*level, threshold=threshold, top_n=top_n)
    assert_same(result, reference_decode(*level, threshold, top_n))


@pytest.mark.parametrize(
    ("batch", "classes", "height", "width", "share", "odd"),
    [
        (0, 3, 4, 5, 0.0, 0.0),
        (8, 5, 7, 11, 0.1, 0.0),  # random scores
        (2, 20, 7, 11, 1.0, 0.0),  # nearly all tied
        (1, 80, 5, 7, 0.0, 0.3),  # NaN and infinities in nearly every row
        (1, 1203, 3, 5, 0.5, 0.01),
        (3, 1, 13, 1, 0.5, 0.0),  # rows of one cell
    ],
)
def test_against_the_loop_at_full_top_n(batch, classes, height, width, share, odd):
    heads = draw(7, batch, 9, classes, height, width, share, odd)
    level = (*heads, anchors_of(9, stride=64), 64)
    result = decode_level(*level, threshold=0.05, top_n=1000)
    assert_same(result, reference_decode(*level, 0.05, 1000))


@pytest.mark.parametrize("score", [0.5, math.inf])
def test_thousands_of_equal_scores_are_taken_by_index(score):
    scores, deltas = torch.full((1, 9 * 10, 12, 17), score), torch.zeros(1, 36, 12, 17)
    _, _, classes = decode_level(scores, deltas, anchors_of(9), 8, threshold=0.05, top_n=1000)
    # 12 * 17 = 204 cells of class 0, then of class 1 and so on; 4 * 204 + 184 = 1000
    assert classes[0].tolist() == [i // 204 for i in range(1000)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_and_deltas_of_any_float_type_are_compared_in_float32(dtype):
    # 0.3 rounds up to 0.30004883 in half precision, which is greater than 0.3
    scores = torch.full((1, 1, 2, 2), 0.3).to(dtype)
    heads = scores, torch.full((1, 4, 2, 2), 0.3).to(dtype)
    level = (*heads, anchors_of(1), 8)
    result = decode_level(*level, threshold=0.3, top_n=9)
    assert_same(result, reference_decode(*level, 0.3, 9))
    assert result[0].shape[1] == (0 if dtype == torch.float64 else 4)


def test_memory_layout_does_not_matter():
    scores, deltas = draw(3, 2, 9, 4, 5, 6, 0.3, 0.05)
    plain = decode_level(scores, deltas, anchors_of(9), 8, threshold=0.05, top_n=50)
    heads = [head.to(memory_format=torch.channels_last) for head in (scores, deltas)]
    assert not heads[0].is_contiguous()
    other = decode_level(*heads, anchors_of(9), 8, threshold=0.05, top_n=50)
    assert all(map(torch.equal, plain, other))


@pytest.mark.parametrize("top_n", [3, 60, 1000])
def test_an_image_does_not_depend_on_its_mates(top_n):
    scores, deltas = draw(5, 8, 9, 6, 5, 7, 0.3, 0.02)
    scores[2] = 0  # nothing found
    scores[4] = 0.5  # everything tied
    scores[5, 3:] = 0.01  # few candidates
    order = torch.tensor([5, 2, 7, 0, 4, 6, 1, 3])

    def run(images):
        heads = scores[images], deltas[images]
        return decode_level(*heads, anchors_of(9), 8, threshold=0.05, top_n=top_n)

    together, shuffled = run(torch.arange(8)), run(order)
    for slot, image in enumerate(order.tolist()):
        alone = trimmed(run([image]), 0)
        assert all(map(torch.equal, trimmed(together, image), alone))
        assert all(map(torch.equal, trimmed(shuffled, slot), alone))


def test_levels_follow_one_another():
    strides = (8, 16, 32)
    sizes = ((8, 12), (4, 6), (2, 3))
    heads = [draw(i, 2, 9, 3, *size) for i, size in enumerate(sizes)]
    anchors = [anchors_of(9, stride) for stride in strides]
    scores, deltas = zip(*heads, strict=True)
    result = decode_heads(scores, deltas, anchors, strides, threshold=0.05, top_n=30)
    levels = [
        decode_level(*level, threshold=0.05, top_n=30)
        for level in zip(scores, deltas, anchors, strides, strict=True)
    ]
    assert result[0].shape == (2, sum(level[0].shape[1] for level in levels))
    for tensor, parts in zip(result, zip(*levels, strict=True), strict=False):
        assert torch.equal(tensor, torch.cat(parts, dim=1))


@pytest.mark.parametrize(
    ("score_shape", "delta_shape", "threshold"),
    [
        ((1, 18, 4, 4), (1, 36, 4, 4), -0.1),
        ((1, 18, 4, 4), (1, 36, 4, 4), math.nan),
        ((1, 17, 4, 4), (1, 36, 4, 4), 0.05),
        ((1, 18, 4, 4), (1, 54, 4, 4), 0.05),
        ((1, 18, 4, 4), (1, 36, 4, 5), 0.05),
    ],
)
def test_what_cannot_be_decoded_is_refused(score_shape, delta_shape, threshold):
    heads = torch.zeros(score_shape), torch.zeros(delta_shape)
    with pytest.raises(ValueError, match=r"threshold|fit"):
        decode_level(*heads, anchors_of(9), 8, threshold=threshold, top_n=5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_selects_the_same():
    heads = draw(9, 8, 9, 80, 13, 20, 0.2, 0.02)
    on_cpu = decode_level(*heads, anchors_of(9), 8, threshold=0.05, top_n=1000)
    heads = [head.cuda() for head in heads]
    on_gpu = decode_level(*heads, anchors_of(9), 8, threshold=0.05, top_n=1000)
    assert torch.equal(on_gpu[0].cpu(), on_cpu[0])
    assert torch.equal(on_gpu[2].cpu(), on_cpu[2])
    torch.testing.assert_close(on_gpu[1].cpu(), on_cpu[1], rtol=1e-6, atol=1e-3)  # exp differs
