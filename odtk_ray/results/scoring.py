"""A finished run against its ground truth."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from odtk_ray.config import InferConfig
from odtk_ray.data.coco import read_truth
from odtk_ray.results.evaluate import CocoEvaluator, Metrics
from odtk_ray.results.merge import Merged, merged
from odtk_ray.results.store import RunFolder
from odtk_ray.results.truth import Category, image_ranks


def score_run(config: InferConfig, run: RunFolder) -> tuple[Metrics, list[str]] | None:
    """Evaluate a run; failed images are left out, and so is their ground truth.

    Returns:
        the figures and remarks about the ground truth; None where there is none.
    """
    if config.annotations is None or not run.plan.outputs["has_truth"]:
        return None
    ids: list[str] = run.plan.records["image_id"].to_pylist()
    categories = [
        Category(entry["id"], str(entry.get("name", entry["id"])))
        for entry in run.plan.outputs["categories"] or []
    ]
    truth, remarks = read_truth(
        config.annotations,
        {text: index for index, text in enumerate(ids)},
        {json.dumps(category.id): i for i, category in enumerate(categories)},
    )
    evaluator = CocoEvaluator(truth, categories, image_ranks(ids))
    positions = np.array(run.plan.outputs["positions"], np.int32)
    for rows in merged(run):
        _add(evaluator, rows, positions)
    return evaluator.result(), remarks


def _add(evaluator: CocoEvaluator, rows: Merged, positions: NDArray[np.int32]) -> None:
    good = pc.is_null(rows.results["error"]).to_numpy()
    # Failed images have no detections, so dropping their zero counts leaves the columns aligned.
    evaluator.add(
        rows.results["index"].to_numpy()[good],
        np.diff(rows.offsets)[good],
        rows.scores,
        positions[rows.classes] if len(positions) else rows.classes.astype(np.int32),
        rows.bbox,
    )
