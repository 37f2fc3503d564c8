"""Scores a finished run against its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from odtk_ray.config import InferConfig
from odtk_ray.datasets.coco import read_truth
from odtk_ray.datasets.ground_truth import Category, GroundTruth, image_ranks
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.problems import Finding
from odtk_ray.evaluation.analyser import Analyser
from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.evaluation.overlap import COCO_LIMIT, overlaps_of
from odtk_ray.plural import counted
from odtk_ray.shards.merge import MergedRows, merge_shards
from odtk_ray.shards.run_folder import RunFolder


@dataclass(frozen=True)
class Scores:
    """A finished run against its ground truth.

    Attributes:
        analysis: figures, errors, thresholds.
        findings: what is wrong with the ground truth.
        crowded: remark where COCO's limit leaves objects without a detection; else empty.
    """

    analysis: Analysis
    findings: list[Finding]
    crowded: str


def score_run(config: InferConfig, run: RunFolder) -> Scores | None:
    """Evaluate a run, leaving out failed images and their ground truth.

    Returns:
        None where there is no ground truth.
    """
    rotated = run.plan.settings.rotated
    if config.annotations is None or not run.plan.outputs["has_truth"]:
        return None
    ids: list[str] = run.plan.records["image_id"].to_pylist()
    categories = [
        Category(entry["id"], str(entry.get("name", entry["id"])))
        for entry in run.plan.outputs["categories"] or []
    ]
    truth, findings = read_truth(
        config.annotations,
        {text: index for index, text in enumerate(ids)},
        {id_text(category.id): i for i, category in enumerate(categories)},
        rotated,
        partial=run.plan.settings.limit is not None or bool(run.plan.outputs["missing"]),
    )
    analyser = Analyser(
        truth, categories, image_ranks(ids), overlaps_of(truth, _sizes(run) if rotated else None)
    )
    positions = np.array(run.plan.outputs["positions"], np.int32)
    for rows in merge_shards(run):
        _add(analyser, rows, positions)
    return Scores(analyser.result(), findings, crowded(truth))


def crowded(truth: GroundTruth) -> str:
    """Return a remark if COCO's limit of 100 leaves objects without a detection; else nothing."""
    wanted = np.stack([truth.image, truth.category], axis=1)[~truth.crowd]
    groups, objects = np.unique(wanted, axis=0, return_counts=True)
    images = len(np.unique(groups[objects > COCO_LIMIT, 0]))
    if not images:
        return ""
    return (
        f"{counted(images, 'image has', 'images have')} more than {COCO_LIMIT} objects of a class: "
        f"COCO's figures count the best {COCO_LIMIT} detections of an image and class"
        + (", the exact ones all" if truth.polygons is not None else "")
    )


def _sizes(run: RunFolder) -> NDArray[np.int64]:
    """Return (height, width) of every record, from the annotation file or else the image file."""
    columns = [run.plan.records[name].to_numpy() for name in ("height", "width")]
    return np.stack(columns, axis=1).astype(np.int64)


def _add(analyser: Analyser, rows: MergedRows, positions: NDArray[np.int32]) -> None:
    good = np.flatnonzero(pc.is_null(rows.results["error"]).to_numpy())
    classes = positions[rows.classes] if len(positions) else rows.classes.astype(np.int32)
    # Failed images have no detections, so leaving them out keeps the columns aligned.
    analyser.add(
        rows.results["index"].to_numpy()[good],
        np.diff(rows.offsets)[good],
        rows.scores,
        classes,
        rows.bbox,
    )
