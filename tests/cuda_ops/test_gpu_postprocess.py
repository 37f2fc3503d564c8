"""Decoding and suppression on the GPU against `ops` on the same GPU and the same input."""

import numpy as np
import pytest
import torch
from launches import Heads, candidates, detections, on_stream, poisoned

from cuda_ops import Level, Postprocess
from odtk_ray.ops.decode_heads import decode_heads
from odtk_ray.ops.nms import nms

pytestmark = pytest.mark.gpu

PATTERNS = ["none", "few", "many", "all", "equal", "ties", "odd"]
SMALL = [(13, 21), (7, 11), (4, 6), (2, 3), (1, 1)]


def assert_candidates(device, heads, *, threshold=0.05, top_n=100):
    with on_stream(device):
        post = heads.postprocess(device, threshold=threshold, top_n=top_n)
        scores, boxes, classes = candidates(device, post, heads, top_n)
        expected = heads.expected_candidates(threshold=threshold, top_n=top_n)
        assert torch.equal(scores, expected[0])
        assert torch.equal(classes, expected[2].int())
        torch.testing.assert_close(boxes, expected[1], rtol=1e-4, atol=1e-4)
        return scores


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_selection_and_order_are_those_of_ops(device, rng, pattern, dtype, logits, channels_last):
    heads = Heads(
        rng,
        SMALL,
        batch=3,
        classes=7,
        pattern=pattern,
        dtype=dtype,
        logits=logits,
        channels_last=channels_last,
    )
    scores = assert_candidates(device, heads)
    assert (scores > 0).any() == (pattern != "none")


@pytest.mark.parametrize(
    ("batch", "classes", "sizes"),
    [
        (1, 1, [(1, 1)]),
        (1, 1203, [(25, 38), (13, 19)]),
        (64, 3, [(9, 5), (3, 1)]),
        (5, 80, [(33, 17), (17, 9), (9, 5), (5, 3), (3, 2)]),
        (2, 11, [(8, 8)] * 10),
    ],
)
@pytest.mark.parametrize("pattern", ["many", "all", "odd"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_any_number_of_images_classes_and_levels(
    device, rng, batch, classes, sizes, pattern, dtype
):
    heads = Heads(
        rng,
        sizes,
        batch=batch,
        classes=classes,
        pattern=pattern,
        dtype=dtype,
        logits=True,
        channels_last=True,
    )
    assert_candidates(device, heads, top_n=1000)


@pytest.mark.parametrize("classes", [1, 2, 7, 8, 80])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("pattern", ["few", "many", "all", "odd"])
@pytest.mark.parametrize("rotated", [None, "own"])
def test_biases_are_added_as_torch_adds_them(device, rng, classes, dtype, pattern, rotated):
    heads = Heads(
        rng,
        SMALL,
        batch=3,
        classes=classes,
        pattern=pattern,
        dtype=dtype,
        logits=True,
        channels_last=True,
        rotated=rotated,
    )
    kind = getattr(torch, dtype)
    score_bias, delta_bias = (
        torch.randn(tensors[0].shape[1]).to("cuda", kind)
        for tensors in (heads.scores, heads.deltas)
    )
    with on_stream(device):
        post = heads.postprocess(
            device, score_bias=score_bias.cpu().numpy(), delta_bias=delta_bias.cpu().numpy()
        )
        found = candidates(device, post, heads, 100)
        heads.scores = [level + score_bias.view(-1, 1, 1) for level in heads.scores]
        heads.deltas = [level + delta_bias.view(-1, 1, 1) for level in heads.deltas]
        expected = candidates(device, heads.postprocess(device), heads, 100)
        assert all(
            torch.equal(one.nan_to_num(), other.nan_to_num())
            for one, other in zip(found, expected, strict=True)
        )


@pytest.mark.parametrize("more", [1, 8, 21])
@pytest.mark.parametrize("classes", [1, 8])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("threshold", [0.0, 0.05])
@pytest.mark.parametrize("rotated", [None, "own"])
def test_further_channels_hold_no_candidates(device, rng, more, classes, dtype, threshold, rotated):
    heads = Heads(
        rng,
        SMALL,
        batch=3,
        classes=classes,
        pattern="many",
        dtype=dtype,
        logits=True,
        channels_last=True,
        rotated=rotated,
    )
    biases = []
    with on_stream(device):
        expected = candidates(device, heads.postprocess(device, threshold=threshold), heads, 100)
        for tensors, filler in ((heads.scores, -np.inf), (heads.deltas, 0.0)):
            bias = np.zeros(tensors[0].shape[1] + more)
            bias[-more:] = filler
            biases.append(bias)
            tensors[:] = [
                torch.cat([level, torch.randn_like(level[:, :1]).expand(-1, more, -1, -1)], 1)
                .contiguous(memory_format=torch.channels_last)
                for level in tensors
            ]  # fmt: skip
        post = heads.postprocess(
            device, threshold=threshold, score_bias=biases[0], delta_bias=biases[1]
        )
        found = candidates(device, post, heads, 100)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.05, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("pattern", ["many", "all", "ties", "odd"])
def test_any_threshold(device, rng, threshold, pattern):
    for dtype in ("float16", "float32"):
        heads = Heads(
            rng,
            [(21, 33), (11, 17)],
            batch=2,
            classes=20,
            pattern=pattern,
            dtype=dtype,
            logits=True,
            channels_last=False,
        )
        assert_candidates(device, heads, threshold=threshold, top_n=300)


@pytest.mark.parametrize("top_n", [1, 2, 1000, 4097, 20000])
@pytest.mark.parametrize("pattern", ["few", "many", "equal", "all"])
def test_any_top_n(device, rng, top_n, pattern):
    heads = Heads(
        rng,
        [(25, 33), (3, 3)],
        batch=2,
        classes=30,
        pattern=pattern,
        dtype="float16",
        logits=True,
        channels_last=True,
    )
    assert_candidates(device, heads, top_n=top_n)


def test_every_half_is_ranked_by_the_sigmoid_of_ops(device, rng):
    """All float16 values as logits of one level, so that any wrong cut or sigmoid shows."""

    values = torch.from_numpy(np.arange(65536, dtype=np.uint16).view(np.float16)).cuda()
    padded = torch.cat([values, values.new_full((18 * 64 * 64 - 65536,), -50.0)])
    heads = Heads(
        rng,
        [(64, 64)],
        batch=1,
        classes=2,
        pattern="none",
        dtype="float16",
        logits=True,
        channels_last=False,
    )
    heads.scores[0].copy_(padded.reshape(1, 18, 64, 64))
    torch.cuda.synchronize()
    for threshold in (0.0, 1e-5, 0.05, 0.3, 0.9):
        assert_candidates(device, heads, threshold=threshold, top_n=65536)


def test_two_launches_do_not_meet(device, rng):
    """Counters are left clean, and nothing of an earlier batch stays."""
    first, second = (
        Heads(
            rng,
            SMALL,
            batch=2,
            classes=5,
            pattern=pattern,
            dtype="float16",
            logits=True,
            channels_last=True,
        )
        for pattern in ("all", "few")
    )
    with on_stream(device):
        post = first.postprocess(device)
        for heads in (first, second, first):
            scores, _, classes = candidates(device, post, heads, 100)
            expected = heads.expected_candidates()
            assert torch.equal(scores, expected[0])
            assert torch.equal(classes, expected[2].int())


def random_boxes(rng, batch, count, kind):
    """float32 boxes [B, N, 4] around a few centres, so that many overlap."""
    centres = rng.uniform(0, 600, (batch, 1 + count // 40, 2))
    chosen = rng.integers(0, centres.shape[1], (batch, count))
    middle = np.take_along_axis(centres, chosen[..., None], 1) + rng.normal(0, 6, (batch, count, 2))
    half = rng.uniform(5, 60, (batch, count, 2))
    boxes = np.concatenate([middle - half, middle + half], axis=2)
    if kind == "odd":
        odd = rng.choice([np.nan, np.inf, -np.inf, 3e38, -50.0, 0.0], boxes.shape)
        boxes = np.where(rng.random(boxes.shape) < 0.02, odd, boxes)
        inverted = rng.random((batch, count, 1)) < 0.05
        boxes = np.where(inverted, boxes[..., [2, 1, 0, 3]], boxes)
    if kind == "identical":
        boxes[:] = boxes[:, :1]
    return boxes.astype(np.float32)


@pytest.mark.parametrize("kind", ["plain", "odd", "identical"])
@pytest.mark.parametrize(
    ("batch", "count", "classes", "kept", "threshold"),
    [
        (1, 1, 1, 1, 0.5),
        (3, 31, 2, 100, 0.5),
        (2, 1000, 1, 100, 0.5),
        (8, 5000, 80, 100, 0.5),
        (2, 5000, 1, 300, 0.3),
        (2, 9000, 3, 1000, 0.9),
        (64, 300, 5, 7, 0.0),
        (2, 2500, 4, 2500, 1.0),
    ],
)
def test_suppression_is_that_of_ops(device, rng, kind, batch, count, classes, kept, threshold):
    scores = rng.uniform(0.05, 1, (batch, count)).astype(np.float32)
    ties = rng.random((batch, count)) < 0.3
    scores = np.where(ties, rng.choice([0.25, 0.5], scores.shape), scores)
    scores = np.where(
        rng.random(scores.shape) < 0.2, rng.choice([0, -1, np.nan], scores.shape), scores
    )
    columns = (
        torch.from_numpy(scores.astype(np.float32)),
        torch.from_numpy(random_boxes(rng, batch, count, kind)),
        torch.from_numpy(rng.integers(0, classes, (batch, count)).astype(np.int32)),
    )
    with on_stream(device):
        columns = [column.cuda() for column in columns]
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
        )
        with poisoned(device, [post.scores, post.boxes, post.classes]):
            post.suppress(*(column.data_ptr() for column in columns))
        found = detections(device, post, batch, kept)
        expected = nms(*columns, threshold=threshold, detections=kept)
        assert torch.equal(found[0], expected[0])
        torch.testing.assert_close(found[1], expected[1], rtol=0, atol=0, equal_nan=True)
        assert torch.equal(found[2], expected[2])


def matched(found, expected):
    """Detections of both sides, and how many of them have a partner at the same place."""
    same = (found[0] == expected[0]) & (found[2] == expected[2])
    close = torch.isclose(found[1], expected[1], rtol=1e-4, atol=1e-3).all(dim=-1)
    used = (found[0] > 0) | (expected[0] > 0)
    return int(used.sum()), int((same & close & used).sum())


def expected_detections(heads, kept):
    scores = [s.float().sigmoid() if heads.settings["logits"] else s.float() for s in heads.scores]
    found = decode_heads(
        scores,
        [d.float() for d in heads.deltas],
        [a.cuda() for a in heads.anchors],
        heads.strides,
        threshold=0.05,
        top_n=1000,
    )
    return nms(*found, threshold=0.5, detections=kept)


def test_the_chain_at_the_size_of_use(device, rng):
    """800x1280, 80 classes, thousands of candidates an image: 5,000 detections and more."""
    sizes = [(100, 160), (50, 80), (25, 40), (13, 20), (7, 10)]
    total = good = 0
    for _ in range(7):
        heads = Heads(
            rng,
            sizes,
            batch=8,
            classes=80,
            pattern="few",
            dtype="float16",
            logits=True,
            channels_last=True,
        )
        with on_stream(device):
            post = heads.postprocess(device, top_n=1000, detections=100)
            with poisoned(device, [post.scores, post.boxes, post.classes]):
                post.launch(*heads.pointers())
            found = detections(device, post, 8, 100)
            used, same = matched(found, expected_detections(heads, 100))
        total, good = total + used, good + same
    assert total >= 5000
    assert good / total >= 0.9999


def test_two_backbones_in_one_model(device, rng):
    """Ten levels, as ODTK's models with two backbones give."""
    sizes = [(20, 32), (10, 16), (5, 8), (3, 4), (2, 2)] * 2
    heads = Heads(
        rng,
        sizes,
        batch=4,
        classes=6,
        pattern="many",
        dtype="float16",
        logits=True,
        channels_last=True,
    )
    heads.strides = [8, 16, 32, 64, 128] * 2
    with on_stream(device):
        post = heads.postprocess(device, top_n=1000, detections=100)
        with poisoned(device, [post.scores, post.boxes, post.classes]):
            post.launch(*heads.pointers())
        used, same = matched(detections(device, post, 4, 100), expected_detections(heads, 100))
    assert used == same == 400


def test_a_captured_launch_replays_on_new_values(device, rng):
    def make():
        return Heads(
            rng,
            SMALL,
            batch=2,
            classes=5,
            pattern="many",
            dtype="float16",
            logits=True,
            channels_last=True,
        )

    heads = make()
    with on_stream(device):
        post = heads.postprocess(device, detections=30)
        post.launch(*heads.pointers())
        device.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        post.launch(*heads.pointers())
        graph.capture_end()
        for _ in range(3):
            fresh = make()
            for target, source in zip(
                heads.scores + heads.deltas, fresh.scores + fresh.deltas, strict=True
            ):
                target.copy_(source)
            with poisoned(device, [post.scores, post.boxes, post.classes]):
                graph.replay()
            found = detections(device, post, 2, 30)
            candidates_ = heads.expected_candidates()
            expected = nms(*candidates_, threshold=0.5, detections=30)
            used, same = matched(found, expected)
            assert used == same == 60
