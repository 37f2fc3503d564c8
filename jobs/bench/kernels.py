"""The CUDA kernels at the sizes of use, beside ODTK's scheme in torch, on the same inputs.

Heads' outputs of 800x1280 and 80 classes in channels_last FP16, random and seeded, with about 6,900
candidates an image; pictures of 640x480 become 1066x800 in a padded tensor. Several sets of input
take turns, so that none stays in the cache. Times are medians over rounds of launches between two
events. The bytes counted are the scores, or the pictures and the tensor: what must be moved.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence

import click
import numpy as np
import torch
from measure import table
from odtk_scheme import postprocess as odtk_postprocess
from torch import Tensor

from cuda_ops import Device, Level, Postprocess, Preprocess, Source
from odtk_ray.config import MEAN, STD, Postprocessing
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES, generate_anchors

STRIDES = (8, 16, 32, 64, 128)
SIZES = ((100, 160), (50, 80), (25, 40), (13, 20), (7, 10))
CLASSES = 80
SETS = 3

# Mean and deviation of the logits: 0.045% of 15.3 million scores exceed 0.05, 6,900 an image.
LOGITS = (-9.0, 1.824)


class Heads:
    """One set of random outputs, on the GPU."""

    def __init__(self, batch: int, seed: int) -> None:
        generator = torch.Generator("cuda").manual_seed(seed)

        def normal(channels: int, size: tuple[int, int], mean: float, std: float) -> Tensor:
            shape = (batch, channels, *size)
            values = torch.randn(shape, generator=generator, device="cuda", dtype=torch.float16)
            return (values * std + mean).contiguous(memory_format=torch.channels_last)

        self.logits = [normal(9 * CLASSES, size, *LOGITS) for size in SIZES]
        self.deltas = [normal(36, size, 0.0, 0.3) for size in SIZES]

    def pointers(self) -> tuple[list[int], list[int]]:
        """Addresses of the logits and of the deltas."""
        return [t.data_ptr() for t in self.logits], [t.data_ptr() for t in self.deltas]

    def candidates(self, threshold: float) -> float:
        """Scores over the threshold, a mean over the images."""
        found = sum(int((level.float().sigmoid() > threshold).sum()) for level in self.logits)
        return found / len(self.logits[0])


class Clock:
    """Times work on the device's stream."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def median(self, work: Callable[[int], object], launches: int, rounds: int = 9) -> float:
        """Milliseconds of one call, the median over rounds; work gets a running number."""
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
    """Bytes read and written in a millisecond by a large copy on the device."""
    source = torch.randint(0, 255, (2 << 30,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / clock.median(lambda _: target.copy_(source), 5)


def captured(work: Callable[[], object]) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(capture_error_mode="thread_local")
    work()
    graph.capture_end()
    return graph


def bench_postprocess(
    device: Device, clock: Clock, batch: int, bandwidth: float
) -> list[Sequence[str]]:
    """Rows of the table for decoding and suppression."""
    settings = Postprocessing()
    anchors = [generate_anchors(s, DEFAULT_RATIOS, DEFAULT_SCALES, "current") for s in STRIDES]
    levels = [
        Level(*size, stride, a.numpy())
        for size, stride, a in zip(SIZES, STRIDES, anchors, strict=True)
    ]
    post = Postprocess(
        device,
        levels,
        batch=batch,
        classes=CLASSES,
        threshold=settings.threshold,
        top_n=settings.top_n,
        nms=settings.nms,
        detections=settings.detections,
        dtype="float16",
        logits=True,
        channels_last=True,
    )
    sets = [Heads(batch, seed) for seed in range(SETS)]
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
        "decode + NMS, ODTK's scheme": bench_odtk(clock, sets, anchors, settings),
    }
    for graph in graphs:
        graph.reset()
    rows = []
    for what, time in times.items():
        counted = what != "NMS" and "ODTK" not in what
        rows.append(row(what, name, time, nbytes if counted else 0, bandwidth))
    return rows


def bench_odtk(
    clock: Clock, sets: Sequence[Heads], anchors: Sequence[Tensor], settings: Postprocessing
) -> float:
    """Milliseconds of ODTK's scheme, given probabilities."""
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
    """The row of the table for resizing, normalising and padding."""
    width, height, new_width, new_height, shape = 640, 480, 1066, 800, (896, 1152)
    prep = Preprocess(
        device,
        batch=batch,
        shape=shape,
        dtype="float16",
        channels_last=True,
        mean=MEAN,
        std=STD,
    )
    pixels = torch.randint(0, 256, (SETS, batch, height, width, 3), dtype=torch.uint8).cuda()
    outs = [torch.empty((batch, 3, *shape), dtype=torch.float16, device="cuda") for _ in range(2)]
    sources = [
        [
            Source(picture.data_ptr(), height, width, 3 * width, new_height, new_width)
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
    """Prints a table."""
    device = Device()
    with torch.cuda.stream(torch.cuda.ExternalStream(device.stream)), torch.inference_mode():
        clock = Clock(device)
        bandwidth = copy_bandwidth(clock)
        print(f"{device.name}, torch {torch.__version__}, numpy {np.__version__}")
        print(f"A copy on the device moves {bandwidth / 1e9:.2f} TB/s, read and written.\n")
        rows: list[Sequence[str]] = [["what", "input", "ms", "MB", "of the copy's rate"]]
        for batch in map(int, batches.split(",")):
            rows += bench_postprocess(device, clock, batch, bandwidth)
        rows += bench_preprocess(device, clock, 32, bandwidth)
        print(table(rows))
    device.close()


if __name__ == "__main__":
    main()
