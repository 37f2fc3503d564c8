"""COCO's metrics, streamed: the figures of pycocotools' COCOeval in a fraction of its memory.

What is kept of a detection are its score, its place in the order, and a bit for each (area range,
IoU threshold) that says whether it was right: 29 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ground_truth import Category, GroundTruth
from odtk_ray.results.matching import (
    AREAS,
    THRESHOLDS,
    Floats,
    Found,
    Ints,
    Wanted,
    bit,
    expand,
    ignored_boxes,
    match,
    places,
)
from odtk_ray.results.overlap import COCO_LIMIT, BoxOverlap, Overlap

_RECALLS = np.linspace(0.0, 1.0, 101)
_LIMITS = (1, 10, COCO_LIMIT)  # detections of an image and class that count, best first

# Name: (measure, IoU threshold or None for the mean over all, area range, limit).
_STATS = {
    "AP": ("Precision", None, "all", 100),
    "AP50": ("Precision", 0, "all", 100),
    "AP75": ("Precision", 5, "all", 100),
    "APs": ("Precision", None, "small", 100),
    "APm": ("Precision", None, "medium", 100),
    "APl": ("Precision", None, "large", 100),
    "AR1": ("Recall", None, "all", 1),
    "AR10": ("Recall", None, "all", 10),
    "AR100": ("Recall", None, "all", 100),
    "ARs": ("Recall", None, "small", 100),
    "ARm": ("Recall", None, "medium", 100),
    "ARl": ("Recall", None, "large", 100),
}

_KEPT = np.dtype(
    [("score", "f8"), ("image_rank", "i4"), ("rank", "u1"), ("hits", "i8"), ("ignored", "i8")]
)


@dataclass(frozen=True)
class ClassMetrics:
    """One row of the per-class table.

    Attributes:
        category: the class.
        ap: mean average precision over the ten IoU thresholds; -1 without boxes to find.
        ap50: average precision at IoU 0.5; -1 without boxes to find.
        boxes: ground truth boxes to find in the evaluated images, crowd regions not counted.
        detections: detections of the class, those beyond the best 100 of an image included.
    """

    category: Category
    ap: float
    ap50: float
    boxes: int
    detections: int


@dataclass(frozen=True)
class Metrics:
    """The result of an evaluation.

    Attributes:
        images: number of evaluated images.
        stats: COCO's twelve figures by name, AP to ARl, in pycocotools' order; -1 where undefined.
        classes: one row a category, in the order of the file.
        limit: detections of an image and class that count for precision; None where all do.
    """

    images: int
    stats: dict[str, float]
    classes: tuple[ClassMetrics, ...]
    limit: int | None = COCO_LIMIT

    def to_json(self) -> dict[str, Any]:
        """The same as plain dictionaries and lists."""
        classes = [
            {
                "id": row.category.id,
                "name": row.category.name,
                "AP": row.ap,
                "AP50": row.ap50,
                "boxes": row.boxes,
                "detections": row.detections,
            }
            for row in self.classes
        ]
        return {"images": self.images, "stats": dict(self.stats), "classes": classes}

    def lines(self) -> list[str]:
        """The twelve lines of pycocotools' summarize(); `all` detections where none are cut."""
        lines = []
        for name, (measure, threshold, area, limit) in _STATS.items():
            iou = "0.50:0.95" if threshold is None else f"{THRESHOLDS[threshold]:.2f}"
            shown = "all" if self.limit is None and measure == "Precision" else str(limit)
            setting = f"IoU={iou:<9} | area={area:>6s} | maxDets={shown:>3s}"
            value = f"{self.stats[name]:.3f}"
            lines.append(f" {'Average ' + measure:<18} (A{measure[0]}) @[ {setting} ] = {value}")
        return lines

    def table(self) -> list[tuple[str, ...]]:
        """The per-class table as text: a heading, then one row a class; `-` where undefined."""
        rows: list[tuple[str, ...]] = [("class", "id", "AP", "AP50", "boxes", "detections")]
        for row in self.classes:
            name, key = row.category.name, str(row.category.id)
            ap, ap50 = (f"{value:.3f}" if value >= 0 else "-" for value in (row.ap, row.ap50))
            rows.append((name, key, ap, ap50, f"{row.boxes:,}", f"{row.detections:,}"))
        return rows


class CocoEvaluator:
    """Evaluates detections chunk by chunk; the chunks' order and size make no difference.

    Equal to COCOeval with default parameters, but for `overlap.limit`. Images that are never added
    do not count, nor does their ground truth.

    Args:
        truth: the boxes to find.
        categories: the file's `categories`, in its order.
        image_rank: int64 [n_records], position of each image when the ids are sorted; equal scores
            are ordered by it.
        overlap: how detections are compared with the truth; boxes, unless it is given.
    """

    def __init__(
        self,
        truth: GroundTruth,
        categories: Sequence[Category],
        image_rank: Ints,
        overlap: Overlap | None = None,
    ) -> None:
        self._overlap = overlap or BoxOverlap(truth)
        self._truth, self._categories, self._image_rank = truth, tuple(categories), image_rank
        self._seen = np.zeros(len(image_rank), np.bool_)
        self._detections = np.zeros(len(categories), np.int64)
        self._positives = np.zeros((len(categories), len(AREAS)), np.int64)
        # For each chunk: its detections sorted by class, and where each class begins and ends.
        self._chunks: list[tuple[NDArray[np.void], Ints]] = []

    def add(
        self,
        images: Ints,
        counts: Ints,
        scores: Floats,
        classes_category: NDArray[np.int32],
        bbox: Floats,
    ) -> None:
        """Evaluates some images, those without detections included.

        A call costs some milliseconds, and memory for its own detections: chunks of some hundred
        images are good.

        Args:
            images: int64 [m], record indices, each once in the whole evaluation.
            counts: int64 [m], number of detections of each image.
            scores: float64 [k], the detections of all images one after the other.
            classes_category: int32 [k], positions in `categories`; others are left out.
            bbox: float64 [k, 4], xywh, pixels of the original image; [k, 5] with theta where the
                boxes are rotated.

        Raises:
            ValueError: the lengths disagree, or an image was added before.
        """
        n_classes = len(self._categories)
        _check_lengths(images, counts, scores, classes_category, bbox)
        self._mark(images)
        owner = np.repeat(np.arange(len(images)), counts)
        known = np.flatnonzero((classes_category >= 0) & (classes_category < n_classes))
        self._detections += np.bincount(classes_category[known], minlength=n_classes)
        group = owner * n_classes + classes_category
        rows = known[np.lexsort((-scores[known], group[known]))]
        rank = places(group[rows])
        counted = rank < (self._overlap.limit or np.inf)
        rows, rank = rows[counted], rank[counted]

        kept = np.empty(len(rows), _KEPT)
        # Of ranks only those below the limits of recall are told apart.
        kept["score"], kept["rank"] = scores[rows], np.minimum(rank, _LIMITS[-1])
        kept["image_rank"] = self._image_rank[images[owner[rows]]]
        found = Found(bbox[rows, 2] * bbox[rows, 3], group[rows], rank)
        wanted, truth_rows = self._wanted(images)
        iou = self._overlap.pairs(bbox[rows], images[owner[rows]], truth_rows)
        kept["hits"], kept["ignored"] = match(found, wanted, iou)
        self._keep(kept, classes_category[rows])

    def _mark(self, images: Ints) -> None:
        if self._seen[images].any() or len(np.unique(images)) != len(images):
            raise ValueError("an image was added twice")
        self._seen[images] = True

    def _keep(self, kept: NDArray[np.void], category: NDArray[np.int32]) -> None:
        counts = np.bincount(category, minlength=len(self._categories))
        order = np.argsort(category, kind="stable")
        self._chunks.append((kept[order], np.concatenate([[0], np.cumsum(counts)])))

    def _wanted(self, images: Ints) -> tuple[Wanted, Ints]:
        """The ground truth of some images, by group, and its rows; what is to be found counts."""
        truth, n_classes = self._truth, len(self._categories)
        first = np.searchsorted(truth.image, images, side="left")
        count = np.searchsorted(truth.image, images, side="right") - first
        rows = expand(first, count)
        group = np.repeat(np.arange(len(images)), count) * n_classes + truth.category[rows]
        order = np.argsort(group, kind="stable")
        rows, group = rows[order], group[order]
        crowd, category = truth.crowd[rows], truth.category[rows]
        ignored = ignored_boxes(truth.area[rows], crowd)
        for a in range(len(AREAS)):
            counted = category[ignored >> bit(a, 0) & 1 == 0]
            self._positives[:, a] += np.bincount(counted, minlength=n_classes)
        return Wanted(group, crowd, ignored), rows

    def result(self) -> Metrics:
        """The metrics of the images added so far."""
        shape = (len(self._categories), len(AREAS), len(THRESHOLDS))
        precision, recall = np.empty(shape), np.empty((*shape, len(_LIMITS)))
        for category in range(len(self._categories)):
            parts = [kept[ends[category] : ends[category + 1]] for kept, ends in self._chunks]
            kept = np.concatenate([np.empty(0, _KEPT), *parts])
            precision[category], recall[category] = _curves(kept, self._positives[category])
        stats = {}
        for name, (measure, threshold, area, limit) in _STATS.items():
            values = precision if measure == "Precision" else recall[..., _LIMITS.index(limit)]
            values = values[:, list(AREAS).index(area)]
            stats[name] = _mean(values if threshold is None else values[:, threshold])
        classes = tuple(
            ClassMetrics(category, _mean(ap), _mean(ap[:1]), int(boxes), int(detections))
            for category, ap, boxes, detections in zip(
                self._categories,
                precision[:, 0],
                self._positives[:, 0],
                self._detections,
                strict=True,
            )
        )
        return Metrics(int(self._seen.sum()), stats, classes, self._overlap.limit)


def _check_lengths(
    images: Ints, counts: Ints, scores: Floats, classes: NDArray[np.int32], bbox: Floats
) -> None:
    k = len(scores)
    if len(counts) != len(images) or counts.sum() != k:
        raise ValueError(f"{len(images)} images, {len(counts)} counts for {k} detections")
    if classes.shape != (k,) or bbox.shape not in ((k, 4), (k, 5)):
        raise ValueError(f"{k} scores, classes {classes.shape}, boxes {bbox.shape}")


def _curves(kept: NDArray[np.void], positives: Ints) -> tuple[Floats, Floats]:
    """Average precision [areas, thresholds] and recall [areas, thresholds, limits] of a class.

    Args:
        kept: [n] of `_KEPT`, those of one image best first and adjacent.
        positives: int64 [areas], boxes to find.
    """
    precision = np.full((len(AREAS), len(THRESHOLDS)), -1.0)
    recall = np.full((*precision.shape, len(_LIMITS)), -1.0)
    order = np.lexsort((kept["image_rank"], -kept["score"]))
    hits, ignored, rank = (kept[name][order] for name in ("hits", "ignored", "rank"))
    for a, t in np.ndindex(precision.shape):
        if positives[a]:
            hit = (hits & (1 << bit(a, t))) != 0
            wrong = ~hit & ((ignored & (1 << bit(a, t))) == 0)
            found = np.flatnonzero(hit)
            precision[a, t] = _average_precision(found, np.cumsum(wrong)[found], positives[a])
            recall[a, t] = [np.count_nonzero(rank[found] < n) / positives[a] for n in _LIMITS]
    return precision, recall


def _average_precision(found: Ints, wrong: Ints, positives: int) -> float:
    """Mean of the interpolated precision at 101 recalls, as COCOeval.accumulate has it.

    Args:
        found: int64 [n], places of the right detections.
        wrong: int64 [n], number of wrong detections before each of them.
        positives: boxes to find, at least 1.
    """
    right = np.arange(1, len(found) + 1)
    precision = right / (wrong + right + np.spacing(1))
    # Precision falls between right detections, so the best from any place on is at one of them.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(right / positives, _RECALLS, side="left")
    return float(np.append(envelope, 0.0)[first].mean())


def _mean(values: Floats) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
