"""The CUDA kernels at the sizes of use, beside ODTK's scheme in torch, on the same inputs.

Heads' outputs in channels_last FP16, random and seeded: 800x1280 and 80 classes with about 6,900
candidates an image, and 768x768, 15 classes and rotated boxes with about 5,000. Suppression of
rotated boxes is also timed where it has most to do: 5,000 candidates on 40 objects, so that all are
looked at. Pictures of 640x480 become 1066x800 in a padded tensor. Several sets of input
take turns, so that none stays in the cache. Times are medians over rounds of launches between two
events. The bytes counted are the scores, or the pictures and the tensor: what must be moved.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
import numpy as np
import torch
from measure import table
from odtk_scheme import postprocess as odtk_postprocess
from torch import Tensor

from cuda_ops import Device, GpuPicture, Level, Postprocess, Preprocess
from odtk_ray.images.normalise import pixel_levels
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES, generate_anchors
from odtk_ray.settings import MEAN, STD, Postprocessing

STRIDES = (8, 16, 32, 64, 128)
SETS = 3


@dataclass(frozen=True)
class Model:
    """The shapes of a model's heads.

    Attributes:
        sizes: (height, width) of each level.
        classes: C.
        anchors: for each level float32 [A, 4].
        box_values: numbers of a box.
        std: deviation of the logits around -9, which makes the number of candidates.
    """

    sizes: Sequence[tuple[int, int]]
    classes: int
    anchors: Sequence[Tensor]
    box_values: int
    std: float


# 0.045% of 15.3 million scores exceed 0.05.
UPRIGHT = Model(
    sizes=((100, 160), (50, 80), (25, 40), (13, 20), (7, 10)),
    classes=80,
    anchors=[generate_anchors(s, DEFAULT_RATIOS, DEFAULT_SCALES, "current") for s in STRIDES],
    box_values=4,
    std=1.824,
)

# 0.1% of 5 million scores exceed 0.05.
ROTATED = Model(
    sizes=((96, 96), (48, 48), (24, 24), (12, 12), (6, 6)),
    classes=15,
    anchors=[
        generate_anchors(
            s, DEFAULT_RATIOS, DEFAULT_SCALES, "legacy", (-math.pi / 6, 0.0, math.pi / 6)
        )
        for s in STRIDES
    ],
    box_values=6,
    std=1.96,
)


class Heads:
    """One set of random outputs, on the GPU."""

    def __init__(self, model: Model, batch: int, seed: int) -> None:
        generator = torch.Generator("cuda").manual_seed(seed)

        def normal(channels: int, size: tuple[int, int], mean: float, std: float) -> Tensor:
            shape = (batch, channels, *size)
            values = torch.randn(shape, generator=generator, device="cuda", dtype=torch.float16)
            return (values * std + mean).contiguous(memory_format=torch.channels_last)

        anchors = len(model.anchors[0])
        self.logits = [normal(anchors * model.classes, s, -9.0, model.std) for s in model.sizes]
        self.deltas = [normal(anchors * model.box_values, s, 0.0, 0.3) for s in model.sizes]

    def pointers(self) -> tuple[list[int], list[int]]:
        """Return the addresses of the logits and of the deltas."""
        return [t.data_ptr() for t in self.logits], [t.data_ptr() for t in self.deltas]

    def candidates(self, threshold: float) -> float:
        """Count scores over the threshold, a mean over the images."""
        found = sum(int((level.float().sigmoid() > threshold).sum()) for level in self.logits)
        return found / len(self.logits[0])


class Clock:
    """Times work on the device's stream."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def median(self, work: Callable[[int], object], launches: int, rounds: int = 9) -> float:
        """Return the median milliseconds of one call over rounds; work gets a running number."""
        numbers = itertools.count()
        for _ in range(launches):
            work(next(numbers))
        times = []
        for _ in range(rounds):
            start, end = self._device.event(), self._device.event()
            start.record()
            for _ in range(launches):
                work(next(numbers))
            end.record()
            end.synchronize()
            times.append(end.elapsed(start) / launches)
        return statistics.median(times)


def copy_bandwidth(clock: Clock) -> float:
    """Measure the bytes read and written per millisecond by a large copy on the device."""
    source = torch.randint(0, 255, (2 << 30,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / clock.median(lambda _: target.copy_(source), 5)


def captured(work: Callable[[], object]) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(capture_error_mode="thread_local")
    work()
    graph.capture_end()
    return graph


def make_postprocess(
    device: Device, model: Model, settings: Postprocessing, batch: int
) -> Postprocess:
    return Postprocess(
        device,
        [
            Level(*size, stride, anchors.numpy())
            for size, stride, anchors in zip(model.sizes, STRIDES, model.anchors, strict=True)
        ],
        batch=batch,
        classes=model.classes,
        threshold=settings.threshold,
        top_n=settings.top_n,
        nms=settings.nms,
        detections=settings.detections,
        dtype="float16",
        logits=True,
        channels_last=True,
        rotated="own" if model is ROTATED else None,
    )


def bench_postprocess(
    device: Device, clock: Clock, model: Model, batch: int, bandwidth: float
) -> list[Sequence[str]]:
    """Return rows of the table for decoding and suppression."""
    settings = Postprocessing()
    post = make_postprocess(device, model, settings, batch)
    sets = [Heads(model, batch, seed) for seed in range(SETS)]
    pointers = [heads.pointers() for heads in sets]
    nbytes = sum(t.numel() * t.element_size() for t in sets[0].logits)
    candidates = (
        post.candidate_scores.ptr,
        post.candidate_boxes.ptr,
        post.candidate_classes.ptr,
    )
    graphs = [captured(lambda p=p: post.launch(*p)) for p in pointers]  # type: ignore[misc]
    name = f"batch {batch}, {sets[0].candidates(settings.threshold):,.0f} candidates an image"
    times = {
        "decode + NMS": clock.median(lambda i: post.launch(*pointers[i % SETS]), 30),
        "decode + NMS, graph": clock.median(lambda i: graphs[i % SETS].replay(), 30),
        "decode": clock.median(lambda i: post.select(*pointers[i % SETS]), 30),
        "NMS": clock.median(lambda _: post.suppress(*candidates), 30),
    }
    for graph in graphs:
        graph.reset()
    rows = []
    for what, time in times.items():
        counted = 0 if what == "NMS" else nbytes
        label = f"rotated {what}" if model is ROTATED else what
        rows.append(row(label, name, time, counted, bandwidth))
    if model is ROTATED:
        time = bench_crowded(clock, post, batch, len(STRIDES) * settings.top_n)
        rows.append(row("rotated NMS", f"batch {batch}, 5,000 on 40 objects", time, 0, bandwidth))
    else:
        time = bench_odtk(clock, sets, model.anchors, settings)
        rows.append(row("decode + NMS, ODTK's scheme", name, time, 0, bandwidth))
    return rows


def bench_crowded(clock: Clock, post: Postprocess, batch: int, count: int) -> float:
    """Measure the suppression of candidates on 40 rotated objects per image, in milliseconds."""
    rng = np.random.default_rng(0)
    number = rng.integers(0, 40, (batch, count))
    middle = rng.uniform(0, 768, (batch, 40, 2)), rng.normal(0, 2, (batch, count, 2))
    sides = rng.uniform(16, 120, (batch, 40, 2)), rng.normal(1, 0.03, (batch, count, 2))
    theta = rng.uniform(-3, 3, (batch, 40)), rng.normal(0, 0.03, (batch, count))
    centre = np.take_along_axis(middle[0], number[..., None], axis=1) + middle[1]
    half = np.take_along_axis(sides[0], number[..., None], axis=1) * sides[1] / 2
    angle = np.take_along_axis(theta[0], number, axis=1) + theta[1]
    turn = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    boxes = np.concatenate([centre - half, centre + half, turn], axis=-1)
    columns = [
        torch.from_numpy(rng.uniform(0.05, 1, (batch, count)).astype(np.float32)).cuda(),
        torch.from_numpy(boxes.astype(np.float32)).cuda(),
        torch.from_numpy((number % ROTATED.classes).astype(np.int32)).cuda(),
    ]
    pointers = [column.data_ptr() for column in columns]
    return clock.median(lambda _: post.suppress(*pointers), 30)


def bench_odtk(
    clock: Clock, sets: Sequence[Heads], anchors: Sequence[Tensor], settings: Postprocessing
) -> float:
    """Measure the milliseconds of ODTK's scheme, given probabilities."""
    there = [a.cuda() for a in anchors]
    scores = [[level.sigmoid() for level in heads.logits] for heads in sets]

    def work(i: int) -> None:
        odtk_postprocess(
            scores[i % SETS],
            sets[i % SETS].deltas,
            there,
            STRIDES,
            threshold=settings.threshold,
            top_n=settings.top_n,
            nms=settings.nms,
            detections=settings.detections,
        )

    return clock.median(work, 3, rounds=5)


def bench_preprocess(
    device: Device, clock: Clock, batch: int, bandwidth: float
) -> list[Sequence[str]]:
    """Return the row of the table for resizing, normalising and padding."""
    width, height, new_width, new_height, shape = 640, 480, 1066, 800, (896, 1152)
    prep = Preprocess(
        device,
        batch=batch,
        shape=shape,
        dtype="float16",
        layout="HWC4",
        levels=pixel_levels(MEAN, STD),
    )
    pixels = torch.randint(0, 256, (SETS, batch, height, width, 3), dtype=torch.uint8).cuda()
    outs = [torch.empty((batch, 4, *shape), dtype=torch.float16, device="cuda") for _ in range(2)]
    sources = [
        [
            GpuPicture(picture.data_ptr(), height, width, 3 * width, new_height, new_width)
            for picture in batch_pixels
        ]
        for batch_pixels in pixels
    ]
    time = clock.median(lambda i: prep.launch(sources[i % SETS], outs[i % 2].data_ptr()), 30)
    nbytes = pixels[0].numel() + outs[0].numel() * 2
    what = "resize + normalise + pad"
    return [row(what, f"batch {batch}, 640x480 to 1066x800", time, nbytes, bandwidth)]


def row(what: str, size: str, time: float, nbytes: int, bandwidth: float) -> Sequence[str]:
    moved = [f"{nbytes / 1e6:,.0f}", f"{nbytes / time / bandwidth:.0%}"] if nbytes else ["", ""]
    return [what, size, f"{time:.3f}", *moved]


@click.command()
@click.option("--batch", "batches", default="8,32", help="Batches of heads' outputs, with commas.")
def main(batches: str) -> None:
    """Print a table."""
    device = Device()
    stream = torch.cuda.ExternalStream(device.stream)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream), torch.inference_mode():
        clock = Clock(device)
        bandwidth = copy_bandwidth(clock)
        print(f"{device.name}, torch {torch.__version__}, numpy {np.__version__}")
        print(f"A copy on the device moves {bandwidth / 1e9:.2f} TB/s, read and written.\n")
        rows: list[Sequence[str]] = [["what", "input", "ms", "MB", "of the copy's rate"]]
        for batch in map(int, batches.split(",")):
            for model in (UPRIGHT, ROTATED):
                rows += bench_postprocess(device, clock, model, batch, bandwidth)
        rows += bench_preprocess(device, clock, 32, bandwidth)
        print(table(rows))
    device.close()


if __name__ == "__main__":
    main()
