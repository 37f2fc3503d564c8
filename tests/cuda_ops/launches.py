"""What the GPU tests launch: random head outputs, poisoned buffers, results as tensors."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import torch

from cuda_ops import Level, Postprocess
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES, generate_anchors
from odtk_ray.ops.decode_heads import decode_level

STRIDES = [8, 16, 32, 64, 128]


def on_stream(device):
    """torch works on the device's stream, so that nothing needs to wait."""
    return torch.cuda.stream(torch.cuda.ExternalStream(device.stream))


def anchors_of(stride, rotated):
    if rotated:
        angles = (-math.pi / 6, 0.0, math.pi / 6)
        return generate_anchors(stride, DEFAULT_RATIOS, DEFAULT_SCALES, "legacy", angles)
    return generate_anchors(stride, DEFAULT_RATIOS, DEFAULT_SCALES, "current")


def random_logits(rng, shape, pattern):
    """float32 logits; the patterns go from no score over a threshold of 0.05 to all of them."""
    generator = torch.Generator("cuda").manual_seed(int(rng.integers(2**31)))

    def normal(mean, std):
        return torch.randn(shape, generator=generator, device="cuda") * std + mean

    def pick(values):
        index = torch.randint(len(values), shape, generator=generator, device="cuda")
        return torch.tensor(values, device="cuda")[index]

    if pattern == "none":
        return normal(-12, 1)
    if pattern == "few":
        return normal(-9, 2)
    if pattern == "many":
        return normal(-5, 1.5)
    if pattern == "all":
        return normal(3, 1)
    if pattern == "equal":
        return torch.full(shape, 0.25, device="cuda")
    if pattern == "ties":  # and neighbours whose float32 sigmoids are equal
        return pick([-9.0, -9.0, -9.0, 1.0, 2.0, 17.0, 17.5, 18.0, 90.0, -2.9444387, -2.944439])
    assert pattern == "odd"
    odd = pick([np.nan, np.inf, -np.inf, 0.0, -0.0, -90.0, -104.0, 1e30])
    return torch.where(normal(0, 1) > 2.5, odd, normal(-5, 1.5))


def random_deltas(rng, shape, odd=False):
    generator = torch.Generator("cuda").manual_seed(int(rng.integers(2**31)))
    deltas = torch.randn(shape, generator=generator, device="cuda") * 0.5
    if odd:
        index = torch.randint(200, shape, generator=generator, device="cuda")
        values = torch.tensor([np.nan, np.inf, -np.inf, 1e30, -1e30, 90.0, 0.0], device="cuda")
        deltas = torch.where(index < 7, values[index.clamp(max=6)], deltas)
    return deltas


class Heads:
    """Random outputs of all levels for one batch, and what `ops` makes of them.

    `rotated` is that of `Postprocess`: with it there are 27 anchors and six deltas of each.
    """

    def __init__(
        self,
        rng,
        sizes,
        *,
        batch,
        classes,
        pattern,
        dtype,
        logits,
        channels_last,
        rotated=None,
    ):
        self.box_values = 6 if rotated else 4
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.strides = STRIDES[: len(sizes)] if len(sizes) <= 5 else [8] * len(sizes)
        self.anchors = [anchors_of(stride, rotated) for stride in self.strides]
        anchors = len(self.anchors[0])
        self.settings = {
            "batch": batch,
            "classes": classes,
            "dtype": dtype,
            "logits": logits,
            "channels_last": channels_last,
            "rotated": rotated,
        }
        kind = getattr(torch, dtype)
        self.scores, self.deltas = [], []
        for height, width in sizes:
            values = random_logits(rng, (batch, anchors * classes, height, width), pattern)
            values = values if logits else values.sigmoid()
            if pattern == "odd" and not logits:
                values = torch.where(values > 0.95, values * float("inf"), values)
            shape = (batch, anchors * self.box_values, height, width)
            deltas = random_deltas(rng, shape, pattern == "odd")
            self.scores.append(values.to(kind).contiguous(memory_format=layout))
            self.deltas.append(deltas.to(kind).contiguous(memory_format=layout))
        torch.cuda.synchronize()  # they were made on another stream than they are used on

    def levels(self):
        return [
            Level(*scores.shape[2:], stride, anchors.numpy())
            for scores, stride, anchors in zip(self.scores, self.strides, self.anchors, strict=True)
        ]

    def pointers(self):
        return [[t.data_ptr() for t in tensors] for tensors in (self.scores, self.deltas)]

    def postprocess(self, device, *, threshold=0.05, top_n=100, nms=0.5, detections=30, **biases):
        return Postprocess(
            device,
            self.levels(),
            threshold=threshold,
            top_n=top_n,
            nms=nms,
            detections=detections,
            **self.settings,
            **biases,
        )

    def expected_candidates(self, *, threshold=0.05, top_n=100):
        """As `ops.decode_heads`, with top_n slots for each level: [B, L * top_n]."""
        columns = [], [], []
        for scores, deltas, anchors, stride in zip(
            self.scores, self.deltas, self.anchors, self.strides, strict=True
        ):
            ranked = scores.float().sigmoid() if self.settings["logits"] else scores
            found = decode_level(
                ranked,
                deltas.float(),
                anchors.cuda(),
                stride,
                threshold=threshold,
                top_n=top_n,
                rotated=self.box_values == 6,
            )
            for column, part in zip(columns, found, strict=True):
                empty = part.new_zeros((len(part), top_n - part.shape[1], *part.shape[2:]))
                column.append(torch.cat([part, empty], dim=1))
        return [torch.cat(column, dim=1) for column in columns]


@contextlib.contextmanager
def poisoned(device, buffers):
    """The buffers hold NaN and -1 before the launch, so that what is not written shows."""
    for buffer in buffers:
        device.upload(buffer.ptr, np.full(buffer.nbytes, 0xFF, np.uint8))
    device.synchronize()
    yield


def fetch(device, buffer, shape, dtype):
    """A buffer's contents as a tensor on the GPU."""
    array = np.empty(shape, dtype)
    assert array.nbytes == buffer.nbytes
    device.download(array, buffer.ptr)
    device.synchronize()
    return torch.from_numpy(array).cuda()


def candidates(device, post, heads, top_n):
    batch, slots = heads.settings["batch"], len(heads.scores) * top_n
    buffers = [post.candidate_scores, post.candidate_boxes, post.candidate_classes]
    with poisoned(device, buffers):
        post.select(*heads.pointers())
    return _columns(device, buffers, batch, slots, post.box_values)


def detections(device, post, batch, slots):
    """What the last launch left in the outputs."""
    buffers = [post.scores, post.boxes, post.classes]
    return _columns(device, buffers, batch, slots, post.box_values)


def _columns(device, buffers, batch, slots, box_values):
    shapes = [(batch, slots), (batch, slots, box_values), (batch, slots)]
    kinds = [np.float32, np.float32, np.int32]
    return [
        fetch(device, buffer, shape, kind)
        for buffer, shape, kind in zip(buffers, shapes, kinds, strict=True)
    ]
