"""Evaluates a checkpoint on pictures in memory, with the parts of `odtk-ray infer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import Category, GroundTruth, GroundTruthBuilder
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.evaluation.coco_evaluator import CocoEvaluator
from odtk_ray.evaluation.metrics import Metrics
from odtk_ray.images.resize import network_size, padded_size, resize
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.records import to_bbox
from odtk_ray.settings import Postprocessing, Preprocessing
from training.angles import AngleReport, report_angles
from training.photographs import Edges, Photograph
from training.scenefiles import coco_content
from training.scenes import Scene


def evaluate(
    path: str | Path,
    photographs: Sequence[Photograph],
    prep: Preprocessing,
    device: str = "cpu",
) -> Metrics:
    """Compute COCO's figures of a one-class checkpoint.

    Args:
        path: the checkpoint.
        photographs: with all their boxes.
        prep: how they are resized.
        device: `cpu` or `cuda`, as the engine's.
    """
    images = [photograph.image for photograph in photographs]
    table = _detect(path, images, prep, device)
    order = np.arange(len(photographs))
    evaluator = CocoEvaluator(_truth(photographs), [Category(1, "object")], order)
    counts = np.bincount(table.image, minlength=len(images))
    evaluator.add(order, counts, table.score, table.category.astype(np.int32), table.bbox)
    return evaluator.result()


def evaluate_scenes(
    path: str | Path, scenes: Sequence[Scene], prep: Preprocessing, device: str = "cpu"
) -> AngleReport:
    """Evaluate the detections of a rotated checkpoint.

    Args:
        path: the checkpoint, of the classes of `silhouettes`.
        scenes: one or more.
        prep: how they are resized.
        device: `cpu` or `cuda`, as the engine's.
    """
    content = coco_content(scenes)
    images, classes = (
        {str(entry["id"]): index for index, entry in enumerate(content[key])}
        for key in ("images", "categories")
    )
    builder = GroundTruthBuilder(images, classes, rotated=True)
    builder.add(content["annotations"])
    categories = [Category(entry["id"], entry["name"]) for entry in content["categories"]]
    table = _detect(path, [Image.fromarray(scene.pixels) for scene in scenes], prep, device)
    return report_angles(builder.build(), categories, table, len(scenes))


def _detect(
    path: str | Path, images: Sequence[Image.Image], prep: Preprocessing, device: str
) -> DetectionTable:
    """Yield the detections in some pictures, picture by picture."""
    engine = PyTorchEngine(
        load_checkpoint(path),
        Postprocessing(),
        launch_batch=1,
        threads=torch.get_num_threads(),
        device=device,
    )

    def columns() -> Iterator[tuple[np.ndarray, ...]]:
        for index, image in enumerate(images):
            width, height, ratio = network_size(*image.size, prep)
            pixels = resize(np.asarray(image), width, height)
            found = engine.detect([pixels], padded_size(width, height, prep.stride)[::-1])[0]
            boxes_img = found.boxes.copy()
            boxes_img[:, :4] /= np.float32(ratio)
            bbox = to_bbox(boxes_img)
            yield np.full(len(found), index), found.classes, found.scores, bbox

    image, category, score, bbox = map(np.concatenate, zip(*columns(), strict=True))
    return DetectionTable(image, category.astype(np.int64), score.astype(np.float64), bbox)


def _truth(photographs: Sequence[Photograph]) -> GroundTruth:
    counts = [len(photograph.boxes) for photograph in photographs]
    edges: Edges = np.concatenate([photograph.boxes for photograph in photographs])
    bbox = np.hstack([edges[:, :2], edges[:, 2:] - edges[:, :2]])
    n = len(bbox)
    return GroundTruth(
        image=np.repeat(np.arange(len(photographs)), counts),
        category=np.zeros(n, np.int32),
        bbox=bbox,
        area=bbox[:, 2] * bbox[:, 3],
        crowd=np.zeros(n, np.bool_),
    )
