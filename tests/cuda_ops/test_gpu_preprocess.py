"""Resize, normalise and pad on the GPU against Pillow and float32 on the CPU, bit for bit."""

import numpy as np
import pytest
import torch
from launches import on_stream

from cuda_ops import GpuPicture, Preprocess
from odtk_ray.images.normalise import pixel_levels
from odtk_ray.images.resize import resize
from odtk_ray.settings import MEAN, STD

pytestmark = pytest.mark.gpu

# (width, height) -> (new width, new height)
SIZES = [
    ((640, 480), (1066, 800)),
    ((480, 640), (800, 1066)),
    ((1, 1), (1, 1)),
    ((1, 1), (257, 33)),
    ((300, 1), (3, 129)),
    ((333, 517), (333, 517)),
    ((333, 517), (333, 101)),
    ((4000, 3001), (1066, 799)),
    ((2500, 1700), (37, 11)),
    ((127, 131), (129, 127)),
    ((5, 7), (1200, 1199)),
]


def expected(pictures, batch, shape):
    """float32 [B, 3, H, W] as ODTK's loader computes it."""
    mean, std = np.float32(MEAN), np.float32(STD)
    out = np.zeros((batch, *shape, 3), np.float32)
    for slot, (pixels, (new_w, new_h)) in enumerate(pictures):
        small = resize(pixels, new_w, new_h).astype(np.float32)
        out[slot, :new_h, :new_w] = (small / np.float32(255) - mean) / std
    return torch.from_numpy(out.transpose(0, 3, 1, 2).copy())


def run(device, pictures, batch, shape, dtype, layout, pad=0, prep=None):
    """The tensor that the kernel makes of (pixels, new size) pairs."""
    with on_stream(device):
        memory = (batch, 3, *shape) if layout == "CHW" else (batch, *shape, len(layout))
        out = torch.full(memory, float("nan"), dtype=dtype, device="cuda")
        held, sources = [], []
        for pixels, (new_w, new_h) in pictures:
            height, width = pixels.shape[:2]
            rows = np.zeros((height, width * 3 + pad), np.uint8)
            rows[:, : width * 3] = pixels.reshape(height, -1)
            held.append(torch.from_numpy(rows).cuda())
            sources.append(
                GpuPicture(held[-1].data_ptr(), height, width, rows.shape[1], new_h, new_w)
            )
        prep = prep or make(device, batch, shape, dtype, layout)
        prep.launch(sources, out.data_ptr())
        device.synchronize()
        out = out.cpu() if layout == "CHW" else out.cpu().permute(0, 3, 1, 2)
        assert not out[:, 3:].any()  # NaN counts as true
        return out[:, :3]


def make(device, batch, shape, dtype, layout):
    return Preprocess(
        device,
        batch=batch,
        shape=shape,
        dtype=str(dtype).removeprefix("torch."),
        layout=layout,
        levels=pixel_levels(MEAN, STD),
    )


def random_picture(rng, width, height):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("layout", ["CHW", "HWC", "HWC4"])
def test_every_kind_of_size(device, rng, dtype, layout):
    pictures = [(random_picture(rng, *size), new) for size, new in SIZES]
    shape = (1280, 1280)
    out = run(device, pictures, len(SIZES) + 1, shape, dtype, layout, pad=5)
    assert torch.equal(out, expected(pictures, len(SIZES) + 1, shape).to(dtype))


@pytest.mark.parametrize("shape", [(1, 1), (33, 65), (130, 255), (64, 128)])
@pytest.mark.parametrize("layout", ["CHW", "HWC", "HWC4"])
def test_tensors_of_odd_sizes(device, rng, shape, layout):
    height, width = shape
    pictures = [
        (
            random_picture(rng, *rng.integers(1, 400, 2)),
            (int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))),
        )
        for _ in range(5)
    ]
    out = run(device, pictures, 5, shape, torch.float16, layout)
    assert torch.equal(out, expected(pictures, 5, shape).half())


def test_more_pictures_than_one_launch_holds(device, rng):
    pictures = [(random_picture(rng, 40 + i, 30), (50, 37)) for i in range(67)]
    out = run(device, pictures, 70, (64, 64), torch.float16, "HWC")
    assert torch.equal(out, expected(pictures, 70, (64, 64)).half())


def test_coefficients_are_kept_and_dropped(device, rng, monkeypatch):
    """With little memory for coefficients every other launch drops them."""
    monkeypatch.setattr("cuda_ops.preprocess._ARENA", 4096)
    prep = make(device, 2, (96, 96), torch.float16, "HWC")
    for _ in range(20):
        pictures = [
            (random_picture(rng, *rng.integers(1, 300, 2)), tuple(map(int, rng.integers(1, 97, 2))))
            for _ in range(2)
        ]
        out = run(device, pictures, 2, (96, 96), torch.float16, "HWC", prep=prep)
        assert torch.equal(out, expected(pictures, 2, (96, 96)).half())


def test_what_does_not_fit_is_refused(device):
    prep = make(device, 1, (32, 32), torch.float16, "HWC")
    with pytest.raises(ValueError, match="64x8 does not fit in 32x32"):
        prep.launch([GpuPicture(256, 8, 8, 24, 8, 64)], 256)
    with pytest.raises(ValueError, match="2 pictures are too many for 1 slots"):
        prep.launch([GpuPicture(256, 8, 8, 24, 8, 8)] * 2, 256)
