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
        truth: the boxes to find; its images are record indices.
        findings: what is wrong with the ground truth.
        crowded: remark where COCO's limit leaves objects without a detection; else empty.
    """

    analysis: Analysis
    truth: GroundTruth
    findings: list[Finding]
    crowded: str


def score_run(config: InferConfig, run: RunFolder) -> Scores | None:
    """Evaluate a run, leaving out failed images and their ground truth.

    Returns:
        None where there is no ground truth.
    """
    if (read := read_run_truth(config, run)) is None:
        return None
    truth, findings = read
    sizes = _sizes(run) if run.plan.settings.rotated else None
    ranks = image_ranks(run.plan.records["image_id"].to_pylist())
    analyser = Analyser(truth, _categories(run), ranks, overlaps_of(truth, sizes))
    for rows in merge_shards(run):
        _add(analyser, rows, file_categories(run, rows))
    return Scores(analyser.result(), truth, findings, crowded(truth))


def read_run_truth(config: InferConfig, run: RunFolder) -> tuple[GroundTruth, list[Finding]] | None:
    """Read the ground truth of a run's images; its indices are those of the run's records.

    Returns:
        it, and what is wrong with it; None where there is none.
    """
    if config.annotations is None or not run.plan.outputs["has_truth"]:
        return None
    ids: list[str] = run.plan.records["image_id"].to_pylist()
    return read_truth(
        config.annotations,
        {text: index for index, text in enumerate(ids)},
        {id_text(category.id): i for i, category in enumerate(_categories(run))},
        run.plan.settings.rotated,
        partial=run.plan.settings.limit is not None or bool(run.plan.outputs["missing"]),
    )


def _categories(run: RunFolder) -> list[Category]:
    return [
        Category(entry["id"], str(entry.get("name", f"class {entry['id']}")))
        for entry in run.plan.outputs["categories"] or []
    ]


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


def file_categories(run: RunFolder, rows: MergedRows) -> NDArray[np.int32]:
    """Return the position of each detection's class in the annotation file's categories."""
    positions = np.array(run.plan.outputs["positions"], np.int32)
    return positions[rows.classes] if len(positions) else rows.classes.astype(np.int32)


def _add(analyser: Analyser, rows: MergedRows, classes: NDArray[np.int32]) -> None:
    good = np.flatnonzero(pc.is_null(rows.results["error"]).to_numpy())
    # Failed images have no detections, so leaving them out keeps the columns aligned.
    analyser.add(
        rows.results["index"].to_numpy()[good],
        np.diff(rows.offsets)[good],
        rows.scores,
        classes,
        rows.bbox,
    )
