"""Made-up input of the benchmarks: pictures and a model with seeded contents."""

from __future__ import annotations

import io
import itertools
import math
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 640, 480
_DISTINCT = 100  # pictures; more files repeat them, which no decoder notices


def write_pictures(folder: Path, count: int) -> int:
    """Write seeded JPEGs of 640x480; return their mean size in bytes, that of a photograph."""
    folder.mkdir()
    data = [_jpeg(seed) for seed in range(min(count, _DISTINCT))]
    for i, content in zip(range(count), itertools.cycle(data), strict=False):
        (folder / f"{i:06d}.jpg").write_bytes(content)
    return sum(map(len, data)) // len(data)


def _jpeg(seed: int) -> bytes:
    """Make a JPEG of smooth colours at three scales under the noise of a sensor."""
    rng = np.random.default_rng(seed)
    canvas = rng.normal(0, 4, (HEIGHT, WIDTH, 1)).astype(np.float32)
    for cell, weight in ((160, 0.6), (40, 0.3), (10, 0.1)):
        grid = rng.integers(0, 256, (HEIGHT // cell, WIDTH // cell, 3), dtype=np.uint8)
        image = Image.fromarray(grid).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        canvas = canvas + weight * np.asarray(image, np.float32)
    buffer = io.BytesIO()
    Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def write_model(path: Path, backbone: str, classes: int, channels: int) -> None:
    """Write a checkpoint with seeded random weights, whose scores spread around 0.01."""
    import torch

    from odtk_ray.model.checkpoint import save_checkpoint
    from odtk_ray.model.retinanet import RetinaNet
    from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

    torch.manual_seed(0)
    model = RetinaNet([backbone], classes, channels=channels)
    torch.nn.init.constant_(model.get_parameter("cls_head.8.bias"), -math.log(99))
    with torch.no_grad():
        model.get_parameter("cls_head.8.weight").mul_(100)  # else no score would pass a threshold
    save_checkpoint(path, model, ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES)
