"""Suppression against ODTK's procedure written as loops, and against torchvision."""

import math

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import batched_nms

from odtk_ray.ops.nms import nms

INF, NAN = math.inf, math.nan
ODD_SCORES = [0.0, -0.0, -1.0, NAN, INF, -INF]
ODD_BOXES = [
    (5.0, 5.0, 4.0, 4.0),  # no pixel
    (5.0, 5.0, 5.0, 5.0),  # one pixel
    (30.0, 30.0, 10.0, 10.0),  # inverted
    (30.0, 0.0, 10.0, 50.0),
    (-20.0, -20.0, -5.0, -5.0),
    (0.0, 0.0, INF, INF),
    (INF, 0.0, INF, 9.0),
    (NAN, 0.0, 9.0, 9.0),
]


def reference_nms(scores, boxes, classes, threshold, detections):
    """nms.cu for one image: sort, let each survivor zero later scores, sort again; float32."""
    one, zero = np.float32(1), np.float32(0)
    chosen = [i for i in range(len(scores)) if scores[i] > 0]
    chosen.sort(key=lambda i: -scores[i])  # stable
    s, (x1, y1, x2, y2), c = scores[chosen].copy(), boxes[chosen].T, classes[chosen]
    for m in range(len(s)):
        for i in range(m + 1, len(s)):
            if not s[m] > 0 or c[m] != c[i]:
                continue
            w = np.fmax(zero, np.fmin(x2[i], x2[m]) - np.fmax(x1[i], x1[m]) + one)
            h = np.fmax(zero, np.fmin(y2[i], y2[m]) - np.fmax(y1[i], y1[m]) + one)
            area_i = (x2[i] - x1[i] + one) * (y2[i] - y1[i] + one)
            area_m = (x2[m] - x1[m] + one) * (y2[m] - y1[m] + one)
            if w * h / (area_i + area_m - w * h) > np.float32(threshold):
                s[i] = zero
    survivors = sorted(range(len(s)), key=lambda i: -s[i])
    return [chosen[i] for i in survivors if s[i] > 0][:detections]


def assert_same(scores, boxes, classes, threshold, detections):
    found = nms(scores, boxes, classes, threshold=threshold, detections=detections)
    assert [t.dtype for t in found] == [torch.float32, torch.float32, classes.dtype]
    assert [t.shape[1:] for t in found] == [(detections,), (detections, 4), (detections,)]
    for b in range(len(scores)):
        arrays = [t[b].numpy() for t in (scores, boxes, classes)]
        with np.errstate(all="ignore"):
            kept = reference_nms(*arrays, threshold, detections)
        for tensor, array in zip(found, arrays, strict=True):
            np.testing.assert_array_equal(tensor[b, : len(kept)].numpy(), array[kept])
            assert not tensor[b, len(kept) :].any()


def draw(seed, batch, count, classes, odd=0.0, tied=0.0, extent=120.0):
    """Seeded boxes in clusters, so that about half of them are suppressed."""
    g = torch.Generator().manual_seed(seed)

    def chance(p):
        return torch.rand(batch, count, generator=g) < p

    def pick(values):
        return torch.tensor(values)[torch.randint(len(values), (batch, count), generator=g)]

    corners = (torch.rand(batch, count, 2, generator=g) * extent / 12).round() * 12
    sizes = torch.rand(batch, count, 2, generator=g) * 12 + 24
    jitter = torch.randn(batch, count, 4, generator=g) * 2
    boxes = torch.cat([corners, corners + sizes], dim=-1) + jitter
    boxes = torch.where(chance(odd)[..., None], pick(ODD_BOXES), boxes)
    scores = torch.rand(batch, count, generator=g)
    scores = torch.where(chance(tied), torch.tensor(0.5), scores)
    scores = torch.where(chance(odd), pick(ODD_SCORES), scores)
    return scores, boxes, torch.randint(classes, (batch, count), generator=g)


@pytest.mark.parametrize(
    ("rows", "threshold", "kept"),  # rows of score, class, box
    [
        ([], 0.5, []),
        ([(0.0, 0, (0, 0, 9, 9)), (-1.0, 0, (0, 0, 9, 9)), (NAN, 0, (0, 0, 9, 9))], 0.5, []),
        # best first, the same box again goes, another class stays
        ([(0.8, 0, (0, 0, 9, 9)), (0.9, 0, (0, 0, 9, 9)), (0.7, 1, (0, 0, 9, 9))], 0.5, [1, 2]),
        # IoU 100 / 200 = 0.5 is not greater than 0.5; without the +1 it would be 81 / 171
        ([(0.9, 0, (0, 0, 9, 9)), (0.8, 0, (0, 0, 9, 19))], 0.5, [0, 1]),
        ([(0.9, 0, (0, 0, 9, 9)), (0.8, 0, (0, 0, 9, 19))], 0.49, [0]),
        # 100 / 300 as a float32 is greater than the double 1 / 3; the threshold is a float32 too
        ([(0.9, 0, (0, 0, 9, 9)), (0.8, 0, (0, 0, 9, 29))], 1 / 3, [0, 1]),
        # 3 x 10 shared pixels: 30 / (50 + 60 - 30) = 0.375; without the +1 18 / 62 = 0.29
        ([(0.9, 0, (0, 0, 4, 9)), (0.8, 0, (2, 0, 7, 9))], 0.3, [0]),
        # a suppressed box suppresses nothing: 0 removes 1 (10 x 8 / 120), 2 only touches 1
        (
            [(0.9, 0, (0, 0, 9, 9)), (0.8, 0, (2, 0, 11, 9)), (0.7, 0, (4, 0, 13, 9))],
            0.5,
            [0, 2],  # 0 and 2 share 6 columns: 60 / 140 = 0.43; 1 and 2 share 8: 80 / 120
        ),
        # ties keep the order given
        ([(0.5, 0, (50, 0, 59, 9)), (0.5, 0, (0, 0, 9, 9)), (0.5, 0, (1, 0, 10, 9))], 0.5, [0, 1]),
        # boxes without pixels: 0 / 0 is NaN and suppresses nothing
        ([(0.9, 0, (5, 5, 4, 4)), (0.8, 0, (5, 5, 4, 4))], 0.0, [0, 1]),
        ([(INF, 0, (0, 0, 9, 9)), (1.0, 0, (0, 0, 9, 9))], 0.5, [0]),
    ],
)
def test_golden(rows, threshold, kept):
    scores = torch.tensor([[score for score, _, _ in rows]], dtype=torch.float32)
    classes = torch.tensor([[label for _, label, _ in rows]], dtype=torch.int64)
    boxes = torch.tensor([box for _, _, box in rows], dtype=torch.float32).reshape(1, -1, 4)
    found = nms(scores, boxes, classes, threshold=threshold, detections=4)
    unused = 4 - len(kept)
    expected = ([scores[0, kept], torch.zeros(unused)], [boxes[0, kept], torch.zeros(unused, 4)])
    assert torch.equal(found[0][0], torch.cat(expected[0]))
    assert torch.equal(found[1][0], torch.cat(expected[1]))
    assert found[2][0].tolist() == classes[0, kept].tolist() + [0] * unused


@given(
    seed=st.integers(0, 2**32),
    batch=st.integers(0, 4),
    count=st.integers(0, 60),
    classes=st.sampled_from([1, 2, 5, 1203]),
    odd=st.sampled_from([0.0, 0.2, 1.0]),
    tied=st.sampled_from([0.0, 0.5, 1.0]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    detections=st.sampled_from([1, 3, 20, 100]),
)
@examples(100)
def test_against_the_loop(seed, batch, count, classes, odd, tied, threshold, detections):
    assert_same(*draw(seed, batch, count, classes, odd, tied), threshold, detections)


@pytest.mark.parametrize(
    ("batch", "count", "classes", "tied", "detections"),
    [(2, 0, 1, 0.0, 100), (8, 150, 3, 0.0, 100), (1, 300, 1, 1.0, 100), (2, 200, 80, 0.1, 300)],
)
def test_against_the_loop_with_many_boxes(batch, count, classes, tied, detections):
    assert_same(*draw(11, batch, count, classes, 0.02, tied), 0.5, detections)


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.75])
@pytest.mark.parametrize(("count", "classes"), [(50, 1), (2000, 1), (2000, 20)])
def test_against_torchvision(threshold, count, classes):
    # Whole pixels are exact in float32, so that far corners moved by 1 give the same IoU there.
    _, boxes, labels = draw(13, 1, count, classes, extent=count / 4)
    scores = torch.randperm(count, generator=torch.Generator().manual_seed(13))[None] + 1.0
    boxes = boxes.round()
    kept = batched_nms(
        boxes[0] + torch.tensor([0.0, 0.0, 1.0, 1.0]), scores[0], labels[0], threshold
    )
    found = nms(scores, boxes, labels, threshold=threshold, detections=count)
    assert (found[0] > 0).sum() == len(kept) < count
    assert torch.equal(found[0][0, : len(kept)], scores[0, kept])
    assert torch.equal(found[1][0, : len(kept)], boxes[0, kept])
    assert torch.equal(found[2][0, : len(kept)], labels[0, kept])


def test_an_image_does_not_depend_on_its_mates_nor_on_unused_slots():
    scores, boxes, classes = draw(17, 8, 400, 4, 0.05, 0.2)
    scores[3] = 0
    scores[6, 5:] = 0
    together = nms(scores, boxes, classes, threshold=0.5, detections=50)
    order = torch.tensor([6, 3, 1, 0, 7, 2, 5, 4])
    shuffled = nms(scores[order], boxes[order], classes[order], threshold=0.5, detections=50)
    for slot, image in enumerate(order.tolist()):
        used = scores[image] > 0
        alone = nms(
            scores[image, used][None],
            boxes[image, used][None],
            classes[image, used][None],
            threshold=0.5,
            detections=50,
        )
        for tensor, other, own in zip(together, shuffled, alone, strict=True):
            np.testing.assert_array_equal(tensor[image], own[0])  # NaN corners are equal here
            np.testing.assert_array_equal(other[slot], own[0])


def test_fewer_detections_are_the_first_of_more():
    candidates = draw(19, 2, 300, 3)
    many = nms(*candidates, threshold=0.5, detections=300)
    few = nms(*candidates, threshold=0.5, detections=20)
    assert (many[0] > 0).sum(dim=1).min() > 20
    assert all(torch.equal(a[:, :20], b) for a, b in zip(many, few, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_keeps_the_same():
    candidates = draw(23, 8, 2000, 20, 0.02, 0.1, extent=600.0)
    on_cpu = nms(*candidates, threshold=0.5, detections=100)
    on_gpu = nms(*[t.cuda() for t in candidates], threshold=0.5, detections=100)
    for gpu, cpu in zip(on_gpu, on_cpu, strict=True):  # NaN boxes may be kept
        assert torch.equal(gpu.cpu().nan_to_num(), cpu.nan_to_num())
