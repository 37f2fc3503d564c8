"""A few launches of every kernel, for compute-sanitizer: `compute-sanitizer --tool racecheck python
tests/cuda_ops/small_launches.py`. torch is not used, so that only our kernels are watched.
"""

import itertools

import numpy as np

from cuda_ops import (
    BottleneckEnd,
    Device,
    Epilogues,
    GpuPicture,
    Level,
    Postprocess,
    Preprocess,
    RotatedIou,
)

SIZES = [(9, 13), (5, 7), (1, 1)]
CLASSES = 5
BATCH = 3


def biases(rng, channels, more):
    return np.concatenate([rng.normal(size=channels), np.full(more, -np.inf)])


def launch_postprocess(device, rng, mean, dtype, channels_last, top_n, rotated=None, more=None):
    levels = [
        Level(*size, 8 << i, rng.uniform(-8, 16, (9, 4)).astype(np.float32))
        for i, size in enumerate(SIZES)
    ]
    post = Postprocess(
        device,
        levels,
        batch=BATCH,
        classes=CLASSES,
        threshold=0.05,
        top_n=top_n,
        nms=0.5,
        detections=20,
        dtype=dtype,
        logits=True,
        channels_last=channels_last,
        rotated=rotated,
        score_bias=None if more is None else biases(rng, 9 * CLASSES, more),
        delta_bias=None if more is None else biases(rng, 9 * (6 if rotated else 4), more),
    )
    held = []
    for channels in (9 * CLASSES + (more or 0), 9 * post.box_values + (more or 0)):
        for height, width in SIZES:
            values = rng.normal(mean, 2, BATCH * channels * height * width).astype(dtype)
            held.append(device.alloc(values.nbytes))
            device.upload(held[-1].ptr, values)
    pointers = [buffer.ptr for buffer in held]
    for _ in range(2):
        post.launch(pointers[: len(SIZES)], pointers[len(SIZES) :])
    device.synchronize()


def launch_preprocess(device, rng, dtype, layout, shape):
    prep = Preprocess(
        device,
        batch=4,
        shape=shape,
        dtype=dtype,
        layout=layout,
        levels=rng.random((3, 256), dtype=np.float32),
    )
    held, sources = [], []
    for height, width in ((30, 41), (400, 300), (1, 1)):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        held.append(device.alloc(pixels.nbytes))
        device.upload(held[-1].ptr, pixels)
        new_height, new_width = shape[0] - height % 3, shape[1] - width % 5
        sources.append(GpuPicture(held[-1].ptr, height, width, 3 * width, new_height, new_width))
    values = 4 * (4 if layout == "HWC4" else 3) * shape[0] * shape[1]
    out = device.alloc(values * np.dtype(dtype).itemsize)
    prep.launch(sources, out.ptr)
    device.synchronize()


def uploaded(device, rng, dtype, *shape):
    values = rng.normal(size=shape).astype(dtype)
    buffer = device.alloc(values.nbytes)
    device.upload(buffer.ptr, values)
    device.synchronize()
    return buffer


def launch_epilogues(device, rng, dtype, shape):
    batch, channels, height, width = shape
    epilogues = Epilogues(device, dtype)
    values, bias = uploaded(device, rng, dtype, *shape), uploaded(device, rng, dtype, channels)
    above = uploaded(device, rng, dtype, batch, channels, height // 2, width // 2)
    out = uploaded(device, rng, dtype, batch, channels, (height + 1) // 2, (width + 1) // 2)
    even = height % 2 == width % 2 == 0
    for limit in (None, 6.0):
        epilogues.add_bias(
            values.ptr, bias.ptr, shape, above=above.ptr if even else None, limit=limit
        )
    epilogues.pool(values.ptr, bias.ptr, out.ptr, shape)
    device.synchronize()


def launch_bottleneck(device, rng, rows, columns):
    ends = BottleneckEnd(device)
    if not ends.fits(64, columns):
        return
    x, weight, bias, out = (
        uploaded(device, rng, "float16", *shape)
        for shape in ((rows, 64), (columns, 64), (columns,), (rows, columns))
    )
    shortcut = uploaded(device, rng, "float16", rows, columns)
    ends.launch(x.ptr, weight.ptr, bias.ptr, shortcut.ptr, out.ptr, rows, columns)
    ends.launch(x.ptr, weight.ptr, bias.ptr, x.ptr, out.ptr, rows, columns, weight.ptr)
    device.synchronize()


def launch_iou(device, rng):
    boxes = [rng.uniform(0, 9, (333, 6)).astype(np.float32) for _ in range(2)]
    held = [device.alloc(b.nbytes) for b in boxes]
    for buffer, values in zip(held, boxes, strict=True):
        device.upload(buffer.ptr, values)
    out = device.alloc(4 * 333)
    RotatedIou(device).launch(held[0].ptr, held[1].ptr, out.ptr, 333)
    device.synchronize()


def main():
    device = Device()
    rng = np.random.default_rng()
    for mean, dtype, channels_last in itertools.product(
        (-9, -2, 4), ("float16", "float32"), (True, False)
    ):
        launch_postprocess(device, rng, mean, dtype, channels_last, top_n=100)
    launch_postprocess(device, rng, 4, "float16", True, top_n=4097)
    for mean, rotated in itertools.product((-9, -2, 4), ("own", "odtk")):
        launch_postprocess(device, rng, mean, "float16", True, 1000, rotated)
    for dtype, rotated, more in itertools.product(("float16", "float32"), (None, "own"), (0, 7)):
        launch_postprocess(device, rng, -2, dtype, True, 100, rotated, more)
    for dtype, shape in itertools.product(
        ("float16", "float32"), ((2, 16, 6, 10), (1, 64, 13, 7), (1, 8, 1, 1))
    ):
        launch_epilogues(device, rng, dtype, shape)
    for rows, columns in ((1, 256), (45, 512), (4096, 256)):
        launch_bottleneck(device, rng, rows, columns)
    launch_iou(device, rng)
    for dtype, layout, shape in itertools.product(
        ("float16", "float32"), ("CHW", "HWC", "HWC4"), ((40, 132), (33, 35))
    ):
        launch_preprocess(device, rng, dtype, layout, shape)
    print("launched")
    device.close()


if __name__ == "__main__":
    main()
