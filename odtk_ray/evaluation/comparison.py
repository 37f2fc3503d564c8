"""The comparison of detectors: figures side by side, and what one found and the other did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odtk_ray.datasets.annotation_file import AnnotationFile
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.evaluation.bootstrap import FIGURES, Difference
from odtk_ray.evaluation.matching import Ints
from odtk_ray.evaluation.partners import find_partners
from odtk_ray.evaluation.status import KINDS

FORMAT = 1
_LISTED = 100  # images, and detections without partners, in the file


@dataclass(frozen=True)
class Detector:
    """One of the detectors that are compared.

    Attributes:
        name: of its file.
        table: its detections.
        analysis: of them; None without ground truth.
    """

    name: str
    table: DetectionTable
    analysis: Analysis | None


@dataclass(frozen=True)
class Names:
    """What positions stand for.

    Attributes:
        images: for each image its file name, or else its id.
        categories: name of each category, or else its id.
    """

    images: Sequence[str]
    categories: Sequence[str]


@dataclass(frozen=True)
class Pair:
    """Two detectors compared.

    Attributes:
        a: the first.
        b: the second.
        matched: counted detections of both that have a partner.
        counted: detections of both from a score on.
        only_a: int64 [n], rows of the counted detections of a without a partner, best first.
        only_b: likewise of b.
        differences: AP, AP50, AP75 and the AP of each class, b - a; empty without ground truth.
        images: int64 [k], the images that differ, most first: by wrong detections and missed boxes
            at the thresholds, without ground truth by detections without a partner.
        by_image: int64 [images], by how much each differs: errors of b less those of a, or
            detections without a partner.
    """

    a: Detector
    b: Detector
    matched: int
    counted: int
    only_a: Ints
    only_b: Ints
    differences: Sequence[Difference]
    images: Ints
    by_image: Ints

    @property
    def figures(self) -> Sequence[Difference]:
        """AP, AP50 and AP75."""
        return self.differences[: len(FIGURES)]

    @property
    def classes(self) -> Sequence[Difference]:
        """The AP of each class."""
        return self.differences[len(FIGURES) :]


@dataclass(frozen=True)
class Comparison:
    """Detectors compared with the first of them.

    Attributes:
        names: of images and categories.
        pairs: the first detector with each other one.
        level: share of the draws whose difference lies in an interval.
        wanted: the annotation file; None without ground truth.
    """

    names: Names
    pairs: Sequence[Pair]
    level: float
    wanted: AnnotationFile | None = None


def compare_pair(
    a: Detector,
    b: Detector,
    differences: Sequence[Difference],
    *,
    images: int,
    iou: float,
    score: float,
) -> Pair:
    """Compare two detectors.

    Args:
        a: the first.
        b: the second.
        differences: of their figures; empty without ground truth.
        images: number of images.
        iou: least IoU of partners.
        score: detections from this score on are counted, their partners may have less.
    """
    partners = find_partners(a.table, b.table, iou)
    alone: list[Ints] = []
    matched = counted = 0
    for table, partner in zip((a.table, b.table), partners, strict=True):
        counts = table.score >= score
        rows = np.flatnonzero(counts & (partner < 0))
        alone.append(rows[np.argsort(-table.score[rows], kind="stable")])
        counted += int(counts.sum())
        matched += int((counts & (partner >= 0)).sum())
    if a.analysis is not None and b.analysis is not None:
        errors = (one.images[:, 1:].sum(axis=1, dtype=np.int64) for one in (a.analysis, b.analysis))
        first, second = errors
        by_image = second - first
    else:
        owners = np.concatenate([a.table.image[alone[0]], b.table.image[alone[1]]])
        by_image = np.bincount(owners, minlength=images)
    order = np.argsort(-np.abs(by_image), kind="stable")
    order = order[by_image[order] != 0]
    return Pair(a, b, matched, counted, alone[0], alone[1], differences, order, by_image)


def comparison_document(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain dictionaries and lists; docs/metrics_file.md has its keys."""
    return {
        "format": FORMAT,
        "level": found.level,
        "pairs": [_pair(pair, found.names) for pair in found.pairs],
    }


def _pair(pair: Pair, names: Names) -> dict[str, Any]:
    document: dict[str, Any] = {"a": pair.a.name, "b": pair.b.name}
    if pair.differences:
        document["figures"] = {row.name: _difference(row) for row in pair.figures}
        document["classes"] = [
            {"name": names.categories[i]} | _difference(row) for i, row in enumerate(pair.classes)
        ]
    document |= {"matched": pair.matched, "counted": pair.counted}
    for key, detector, rows in (("only_a", pair.a, pair.only_a), ("only_b", pair.b, pair.only_b)):
        document[key] = {
            "count": len(rows),
            "first": [_detection(detector.table, int(row), names) for row in rows[:_LISTED]],
        }
    document["images"] = [_image(pair, int(image), names) for image in pair.images[:_LISTED]]
    return document


def _difference(row: Difference) -> dict[str, Any]:
    return {"a": row.a, "b": row.b, "low": row.low, "high": row.high, "chance": row.by_chance}


def _detection(table: DetectionTable, row: int, names: Names) -> dict[str, Any]:
    return {
        "image": names.images[table.image[row]],
        "category": names.categories[table.category[row]],
        "score": float(table.score[row]),
        "bbox": table.bbox[row].tolist(),
    }


def _image(pair: Pair, image: int, names: Names) -> dict[str, Any]:
    document: dict[str, Any] = {
        "image": names.images[image],
        "difference": int(pair.by_image[image]),
    }
    for key, detector in (("a", pair.a), ("b", pair.b)):
        if detector.analysis is not None:
            counts = detector.analysis.images[image].tolist()
            document[key] = dict(zip(KINDS, counts, strict=True))
    return document
