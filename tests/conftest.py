"""Shared by all tests: pictures, tiny checkpoints, one Ray for the whole session."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import Quiet, picture

# Ray asks for this before it is imported; usage reports would leave the machine.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture(scope="session")
def ray_session():
    """A Ray of this process, with room for four workers, whatever the machine."""
    import ray

    # Workers are nice by default, and starve where anything else is at work.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so it is spelled
    # Workers must find the engines that the tests bring.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=256 << 20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """26 pictures of four sizes, JPEG and PNG."""
    folder = tmp_path_factory.mktemp("photos")
    sizes = [(160, 120), (120, 160), (96, 96), (200, 100)]
    for seed in range(26):
        suffix = "png" if seed % 5 == 0 else "jpg"
        picture(seed, *sizes[seed % 4]).save(folder / f"p{seed:03d}.{suffix}")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A ResNet18FPN of 3 classes and 8 channels with seeded weights that detect plenty."""
    return tiny_model(tmp_path_factory.mktemp("checkpoint") / "tiny.pth")


@pytest.fixture(scope="session")
def rotated_checkpoint(tmp_path_factory) -> Path:
    """The same with 27 anchors a cell and rotated boxes."""
    folder = tmp_path_factory.mktemp("rotated_checkpoint")
    return tiny_model(folder / "turned.pth", angles=(-math.pi / 6, 0.0, math.pi / 6))


def tiny_model(path: Path, angles: tuple[float, ...] | None = None) -> Path:
    import torch

    from odtk_ray.model.checkpoint import save_checkpoint
    from odtk_ray.model.retinanet import RetinaNet
    from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

    generator = torch.Generator().manual_seed(7)
    shape = {} if angles is None else {"anchors": 27, "box_values": 6}
    model = RetinaNet(["ResNet18FPN"], 3, channels=8, **shape)
    state = {}
    for name, tensor in model.state_dict().items():
        if tensor.dim() == 4:
            fan_in = tensor[0].numel()
            state[name] = torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5
        elif name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
            state[name] = torch.ones(tensor.shape)
        else:
            state[name] = torch.zeros_like(tensor)
    state["cls_head.8.weight"] *= 4
    state["cls_head.8.bias"] -= 2
    state["box_head.8.weight"] *= 0.2 if angles is None else 0.02
    if angles is not None:
        state["cls_head.8.weight"] *= 0.25
    model.load_state_dict(state)
    save_checkpoint(path, model, ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES, angles=angles)
    return path


@pytest.fixture(scope="session")
def annotations(photos, tmp_path_factory) -> Path:
    """Seeded boxes on the pictures, with categories that start at 5 and are not sorted."""
    rng = np.random.default_rng(3)
    images, boxes = [], []
    for i, path in enumerate(sorted(photos.iterdir())):
        width, height = Image.open(path).size
        images.append({"id": 1000 - i, "file_name": path.name, "width": width, "height": height})
        for _ in range(rng.integers(0, 4)):
            x, y = rng.uniform(0, width / 2), rng.uniform(0, height / 2)
            w, h = rng.uniform(10, width / 2), rng.uniform(10, height / 2)
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": 1000 - i,
                    "category_id": int(rng.choice([9, 5, 7])),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(rng.random() < 0.1),
                }
            )
    categories = [{"id": i, "name": n} for i, n in ((9, "nine"), (5, "five"), (7, "seven"))]
    path = tmp_path_factory.mktemp("annotations") / "boxes.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()
