"""What an export costs in average precision, on annotated images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from odtk_ray.config import Preprocessing
from odtk_ray.data import storage
from odtk_ray.data.classes import map_classes
from odtk_ray.data.coco import read_coco, read_truth
from odtk_ray.data.images import Picture, load_picture
from odtk_ray.engines.base import Engine
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.model.exported import ExportedModel
from odtk_ray.records import Detections
from odtk_ray.results.evaluate import CocoEvaluator
from odtk_ray.results.truth import Category, image_ranks

IMAGES = 200  # evaluated at most
LEAST_KEPT = 0.985  # of the AP; an export that keeps less is off


@dataclass(frozen=True)
class Accuracy:
    """AP (COCO's, IoU 0.50 to 0.95) of the same images, network input and post-processing.

    Attributes:
        images: how many were evaluated.
        reference: of the checkpoint in PyTorch, FP32.
        exported: of the exported model.
    """

    images: int
    reference: float
    exported: float

    @property
    def kept(self) -> float:
        """Share of the reference's AP; 1 where that is 0."""
        return self.exported / self.reference if self.reference > 0 else 1.0

    def line(self) -> str:
        """For people."""
        change = f"{self.kept - 1:+.1%}" if self.reference > 0 else "nothing found to compare"
        return (
            f"AP on {self.images:,} annotated images: {self.exported:.4f}, "
            f"PyTorch {self.reference:.4f} ({change})"
        )


def measure_accuracy(
    path: str, checkpoint: Checkpoint, about: ExportedModel, images: str, annotations: str
) -> Accuracy:
    """Evaluates an ONNX file and the checkpoint that it was made of, on the CPU.

    Args:
        path: of the ONNX file.
        checkpoint: the reference.
        about: what the file says about itself.
        images: folder or URI of the files.
        annotations: COCO file with ground truth; images that are missing or cannot be decoded are
            left out.

    Raises:
        UsageError: the annotations cannot be used, have no ground truth, or no image is there.
    """
    dataset = read_coco(annotations, images, allow_missing=True, limit=IMAGES)
    if not dataset.has_truth or not dataset.categories:
        raise UsageError(f"{annotations} has no ground truth to compare AP with")
    ids: list[str] = dataset.records["image_id"].to_pylist()
    categories = [Category(c["id"], str(c.get("name", c["id"])))  # type: ignore[arg-type]
                  for c in dataset.categories]  # fmt: skip
    truth, _ = read_truth(
        annotations,
        {text: index for index, text in enumerate(ids)},
        {json.dumps(category.id): i for i, category in enumerate(categories)},
    )
    classes = map_classes(about.classes, about.class_names, about.category_ids, dataset.categories)
    positions = np.array(classes.positions, np.int32)
    threads = torch.get_num_threads()
    engines: list[Engine] = [
        PyTorchEngine(checkpoint, about.post, launch_batch=1, threads=threads),
        OnnxRuntimeEngine(path, about.post, launch_batch=1, threads=threads),
    ]
    evaluators = [CocoEvaluator(truth, categories, image_ranks(ids)) for _ in engines]
    count = 0
    for index, picture in _pictures(dataset.records["path"].to_pylist(), about.size):
        count += 1
        for engine, evaluator in zip(engines, evaluators, strict=True):
            (found,) = engine.detect([picture.pixels], about.size)
            _add(evaluator, index, picture, found, positions)
    if not count:
        raise UsageError(f"none of the images of {annotations} can be used", f"in {images}")
    reference, exported = (max(e.result().stats["AP"], 0.0) for e in evaluators)
    return Accuracy(count, reference, exported)


def _pictures(paths: list[str], size: tuple[int, int]) -> Iterator[tuple[int, Picture]]:
    """Record index and picture, without those that cannot be decoded."""
    prep = Preprocessing(fit=size)
    for index, path in enumerate(paths):
        try:
            picture = load_picture(storage.read_bytes(path), prep)
        except (ImageError, OSError):
            continue
        yield index, picture


def _add(
    evaluator: CocoEvaluator,
    index: int,
    picture: Picture,
    found: Detections,
    positions: NDArray[np.int32],
) -> None:
    bbox = (found.boxes / np.float32(picture.ratio)).astype(np.float64)
    bbox[:, 2:] -= bbox[:, :2] - 1  # xywh of inclusive corners
    evaluator.add(
        np.array([index]),
        np.array([len(found)]),
        found.scores.astype(np.float64),
        positions[found.classes],
        bbox,
    )
