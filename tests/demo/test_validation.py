"""Validation sees what `odtk-ray infer` finds, and the file that ships is what its notes say."""

import hashlib
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training.photographs import Photograph
from training.scenes import Scene
from training.silhouettes import NAMES
from training.validation import evaluate, evaluate_scenes

from odtk_ray.detect.detector import Detector
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES
from odtk_ray.records import to_bbox
from odtk_ray.settings import Postprocessing, Preprocessing

PREP = Preprocessing(resize=128, max_size=256)
ROOT = Path(__file__).parents[2]
SHIPPED = {
    "odtk_ray/assets/trees.pth": (("tree",), False),
    "jobs/demo/shapes.pth.xz": (NAMES, True),
}


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
        return PyTorchEngine(load_checkpoint(eager), Postprocessing(), prep=PREP, launch_batch=1)

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


@pytest.fixture
def eager_rotated(rotated_start, tmp_path):
    checkpoint = load_checkpoint(rotated_start)
    model = checkpoint.build()
    torch.manual_seed(0)
    model.cls_head[8].bias.normal_()
    path = tmp_path / "eager.pth"
    anchors = {name: getattr(checkpoint, name) for name in ("ratios", "scales", "angles")}
    save_checkpoint(path, model, **anchors)
    return path


def test_what_the_run_finds_in_scenes_is_right(eager_rotated, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")

    def engine():
        return PyTorchEngine(
            load_checkpoint(eager_rotated), Postprocessing(), prep=PREP, launch_batch=1
        )

    [result] = Detector(engine, PREP, launch_batch=1, threads=1).detect(
        [str(tmp_path / "scene.png")]
    )
    found = result.detections
    assert len(found) > 20
    boxes = to_bbox(found.boxes)
    scene = Scene(pixels, boxes, found.classes.astype(np.int64), np.zeros(len(found)))
    report = evaluate_scenes(eager_rotated, [scene], PREP)
    assert report.metrics.stats["AP"] == pytest.approx(1.0)
    assert report.error == pytest.approx(0, abs=1e-3)
    assert report.matches == len(found)
    far = np.array([500.0, 0, 0, 0, 0])
    moved = Scene(pixels, boxes + far, scene.classes, scene.hidden)
    assert evaluate_scenes(eager_rotated, [moved], PREP).metrics.stats["AP"] == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_the_files_that_ship(name, tmp_path):
    path = ROOT / name
    assert path.stat().st_size <= 6 << 20
    content = path.read_bytes()
    if path.suffix == ".xz":
        content = lzma.decompress(content)
    (tmp_path / "model.pth").write_bytes(content)
    checkpoint = load_checkpoint(tmp_path / "model.pth")
    assert (checkpoint.backbones, checkpoint.channels) == (("MobileNetV2FPN",), 64)
    assert (checkpoint.class_names, checkpoint.rotated) == SHIPPED[name]
    assert checkpoint.dtype == "float16"
    digest = hashlib.sha256(content).hexdigest()
    assert digest in path.with_name("README.md").read_text(encoding="utf-8")
