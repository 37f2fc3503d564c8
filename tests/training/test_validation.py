"""Validation sees what `odtk-ray infer` finds, and the file that ships is what its notes say."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import odtk_ray
from odtk_ray.config import Postprocessing, Preprocessing
from odtk_ray.detect import Detector
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES
from odtk_ray.training.photographs import Photograph
from odtk_ray.training.validation import evaluate

PREP = Preprocessing(resize=128, max_size=256)
ASSETS = Path(odtk_ray.__file__).parent / "assets"


@pytest.fixture
def eager(start, tmp_path):
    """An untrained model whose scores are near 0.5 instead of 0.01: it finds boxes everywhere."""
    model = load_checkpoint(start).build()
    model.cls_head[8].bias.zero_()
    path = tmp_path / "eager.pth"
    save_checkpoint(path, model, ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES)
    return path


@pytest.fixture
def photographs(eager, tmp_path):
    """Pictures whose boxes are what the run's detector finds in their files."""

    def engine():
        return PyTorchEngine(load_checkpoint(eager), Postprocessing(), launch_batch=1)

    detector = Detector(engine, PREP, launch_batch=1, threads=1)
    rng = np.random.default_rng(0)
    sizes = [(70, 90, 3), (80, 60, 3)]
    images = [Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)) for size in sizes]
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    results = detector.detect(paths)
    assert all(len(result.detections) > 20 for result in results)
    return [
        Photograph(image, result.detections.boxes.astype(np.float64) + np.array([0, 0, 1, 1]))
        for image, result in zip(images, results, strict=True)
    ]


def test_what_the_run_finds_is_right(eager, photographs):
    metrics = evaluate(eager, photographs, PREP)
    assert metrics.images == 2
    assert metrics.stats["AP"] == pytest.approx(1.0)


def test_boxes_elsewhere_are_wrong(eager, photographs):
    moved = [Photograph(p.image, p.boxes + 500) for p in photographs]
    assert evaluate(eager, moved, PREP).stats["AP"] == 0


def test_another_size_is_another_result(eager, photographs):
    assert 0 < evaluate(eager, photographs, Preprocessing(resize=100)).stats["AP"] < 0.9


def test_the_file_that_ships():
    path = ASSETS / "trees.pth"
    assert path.stat().st_size <= 6 << 20
    checkpoint = load_checkpoint(path)
    assert (checkpoint.backbones, checkpoint.channels) == (("MobileNetV2FPN",), 64)
    assert (checkpoint.class_names, checkpoint.dtype) == (("tree",), "float16")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in (ASSETS / "README.md").read_text()
