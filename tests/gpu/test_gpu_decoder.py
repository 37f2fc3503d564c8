"""nvImageCodec against Pillow, and against itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
from gpu_helpers import decoded, jpeg

from odtk_ray.images.jpeg_header import read_plain_header

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def decode(codec):
    """Decodes files on the GPU: uint8 [h, w, 3] each, None where it declines."""
    import torch

    import cuda_ops
    from odtk_ray.images.nvimagecodec import JpegDecoder

    device = cuda_ops.Device()
    decoder = JpegDecoder(device, threads=4)

    def run(files):
        images = decoder.decode(files)
        device.synchronize()
        return [i and torch.as_tensor(i, device="cuda").cpu().numpy() for i in images]

    run.kind = decoder.key.rsplit("-", 1)[-1]
    yield run
    decoder.close()
    device.close()


KINDS = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"subsampling": 2, "progressive": True},
    {"subsampling": 2, "quality": 30},
    {"subsampling": 2, "restart_marker_blocks": 4},
    {"mode": "L"},
    {"mode": "L", "progressive": True},
]


def declinable(width, height, kind):
    """What the hardware may leave to Pillow: progressive scans and very small pictures."""
    return kind.get("progressive", False) or min(width, height) < 64


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(
    ("width", "height"),
    [(640, 480), (333, 500), (17, 9), (1, 1), (2, 31), (4, 9), (5, 31), (6, 5), (1500, 1201)],
)
def test_it_is_pillow_up_to_one_step(decode, kind, width, height):
    """Of the hardware's decoder; the hybrid one is within three steps."""
    data = jpeg(3, width, height, **kind)
    if read_plain_header(data) is None:
        assert width < 5
        assert kind.get("subsampling")
        return
    (found,) = decode([data])
    wanted = decoded(data)
    if found is None and decode.kind == "hardware" and declinable(width, height, kind):
        return
    assert found is not None
    assert found.shape == wanted.shape
    step = np.abs(found.astype(int) - wanted.astype(int)).max()
    assert step <= (1 if decode.kind == "hardware" else 3)


def test_bytes_do_not_depend_on_the_batch(decode):
    sizes = [(640, 480), (427, 640), (1300, 1000), (96, 80)]
    files = [jpeg(i, *sizes[i % 4], subsampling=i % 3) for i in range(64)]
    alone = [decode([data])[0].tobytes() for data in files]
    for size in (8, 64):
        parts = [decode(files[i : i + size]) for i in range(0, 64, size)]
        assert [image.tobytes() for part in parts for image in part] == alone
    order = list(range(64))
    random.Random(1).shuffle(order)
    shuffled = decode([files[i] for i in order])
    assert [image.tobytes() for image in shuffled] == [alone[i] for i in order]


def test_what_it_cannot_decode_is_none_and_harms_nobody(decode):
    good = jpeg(1, 100, 80)
    junk = b"\xff\xd8\xff\xe0 this is no picture \xff\xd9"
    first, none, last = decode([good, junk, good])
    assert none is None
    assert first.tobytes() == last.tobytes()


def test_importing_the_codec_says_nothing_of_other_formats(codec, capfd):
    capfd.readouterr()
    from odtk_ray.images.nvimagecodec import import_codec

    import_codec()
    said = capfd.readouterr().err.lower()
    assert "tiff" not in said
    assert "jpeg2000" not in said
