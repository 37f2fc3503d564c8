"""How good a checkpoint is on photographs that are in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from odtk_ray.config import Postprocessing, Preprocessing
from odtk_ray.data.images import network_size, padded_size, resize
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.results.evaluate import CocoEvaluator, Metrics
from odtk_ray.results.truth import Category, GroundTruth
from odtk_ray.training.photographs import Edges, Photograph


def evaluate(
    path: str | Path,
    photographs: Sequence[Photograph],
    prep: Preprocessing,
    device: str = "cpu",
) -> Metrics:
    """COCO's figures of a one-class checkpoint, computed with the parts of `odtk-ray infer`.

    Args:
        path: the checkpoint.
        photographs: with all their boxes.
        prep: how they are resized.
        device: `cpu` or `cuda`, as the engine's.
    """
    engine = PyTorchEngine(
        load_checkpoint(path),
        Postprocessing(),
        launch_batch=1,
        threads=torch.get_num_threads(),
        device=device,
    )
    order = np.arange(len(photographs))
    evaluator = CocoEvaluator(_truth(photographs), [Category(1, "object")], order)
    for index, photograph in enumerate(photographs):
        width, height, ratio = network_size(*photograph.image.size, prep)
        pixels = resize(np.asarray(photograph.image), width, height)
        shape = padded_size(width, height, prep.stride)[::-1]
        found = engine.detect([pixels], shape)[0]
        boxes_img = (found.boxes / np.float32(ratio)).astype(np.float64)
        boxes_img[:, 2:] -= boxes_img[:, :2] - 1  # xywh
        scores = found.scores.astype(np.float64)
        evaluator.add(order[[index]], np.array([len(found)]), scores, found.classes, boxes_img)
    return evaluator.result()


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
