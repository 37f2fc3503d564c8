"""What large pictures take while their tiles are read, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiled_tiff import tiled_tiff

SIDE = 6000  # 36 million pixels: 103 MiB in RGB, 137 MiB in Pillow

SCRIPT = """
import json, sys
from pathlib import Path
from engines_for_tests import PixelEngine
from odtk_ray.settings import Postprocessing, Preprocessing
from odtk_ray.images import windows
from odtk_ray.detect.detector import Detector
from odtk_ray.detect.tiling import detect_tiled

def mebibytes(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024

limit, *paths = sys.argv[1:]
windows._CACHE = 16 << 20
prep = Preprocessing(resize=64, max_size=64, tile=512, overlap=64, max_pixels=int(limit))
engine = PixelEngine()
engine.prep = prep
detector = Detector(lambda: engine, prep, launch_batch=2, threads=2)
before = mebibytes("VmRSS")
results = detect_tiled(detector, paths, prep, Postprocessing())
print(json.dumps([mebibytes("VmHWM") - before, [r.error for r in results]]))
"""


def measure(paths, max_pixels=SIDE * SIDE):
    """MiB above what the process had before, and the errors."""
    command = [sys.executable, "-c", SCRIPT, str(max_pixels), *map(str, paths)]
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": tests}
    )
    print(done.stdout)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One picture as TIFFs of several kinds and as JPEG."""
    folder = tmp_path_factory.mktemp("large")
    part = np.add.outer(np.arange(250), np.arange(250))[..., None] // np.array([2, 3, 4])
    pixels = np.tile(part.astype(np.uint8), (SIDE // 250, SIDE // 250, 1))
    for name, deflate in (("tiles.tif", False), ("deflated_tiles.tif", True)):
        (folder / name).write_bytes(tiled_tiff(pixels, 256, deflate=deflate))
    image = Image.fromarray(pixels)
    image.save(folder / "one_strip.tif", tiffinfo={278: SIDE})
    image.save(folder / "deflated_strips.tif", compression="tiff_deflate", tiffinfo={278: 64})
    image.save(folder / "a.jpg")
    return folder


@pytest.mark.parametrize("more", [0, -1], ids=["within --max-pixels", "beyond it"])
def test_large_tiffs_are_never_in_memory(files, more):
    above, errors = measure(sorted(files.glob("*.tif")), SIDE * SIDE + more)
    assert errors == [None] * 4
    assert above < 90  # MiB


def test_large_jpegs_are_in_memory_once_and_one_at_a_time(files):
    above, errors = measure([files / "a.jpg"] * 3)
    assert errors == [None] * 3
    assert above < 210  # MiB: 240 with a copy in RGB, 270 with the next picture
