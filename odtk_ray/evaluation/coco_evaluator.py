"""COCO's metrics, streamed: the figures of pycocotools' COCOeval in a fraction of its memory.

What is kept of a detection are its score, its place in the order, and a bit for each (area range,
IoU threshold) that says whether it was right: 29 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ground_truth import Category, GroundTruth
from odtk_ray.evaluation.average_precision import average_precision
from odtk_ray.evaluation.matching import (
    AREAS,
    THRESHOLDS,
    Floats,
    GroupedDetections,
    GroupedTruth,
    Ints,
    bit,
    expand,
    ignored_boxes,
    match,
    rank_in_runs,
)
from odtk_ray.evaluation.metrics import STATS, ClassMetrics, Metrics
from odtk_ray.evaluation.overlap import COCO_LIMIT, BoxOverlap, Overlap

_LIMITS = (1, 10, COCO_LIMIT)  # detections of an image and class that count, best first


_KEPT = np.dtype(
    [("score", "f8"), ("image_rank", "i4"), ("rank", "u1"), ("hits", "i8"), ("ignored", "i8")]
)


@dataclass(frozen=True)
class MatchedRows:
    """What the detections of some images have found at IoU 0.5.

    Attributes:
        rows: int64 [n], those that count, the best of each image and class.
        box: int64 [n], row of the ground truth that each has found; -1 for none.
        ignored: bool [n], whether it is neither right nor wrong: it lies in a crowd region.
    """

    rows: Ints
    box: Ints
    ignored: NDArray[np.bool_]


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
    ) -> MatchedRows:
        """Evaluate some images, including images without detections.

        A call costs some milliseconds, and memory for its own detections: chunks of some hundred
        images are good.

        Args:
            images: int64 [m], record indices, each once in the whole evaluation.
            counts: int64 [m], number of detections of each image.
            scores: float64 [k], the detections of all images one after the other.
            classes_category: int32 [k], positions in `categories`; others are left out.
            bbox: float64 [k, 4], xywh, pixels of the original image; [k, 5] with theta where the
                boxes are rotated.

        Returns:
            what each detection that counts has found, at IoU 0.5.

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
        rank = rank_in_runs(group[rows])
        counted = rank < (self._overlap.limit or np.inf)
        rows, rank = rows[counted], rank[counted]

        kept = np.empty(len(rows), _KEPT)
        # Of ranks only those below the limits of recall are told apart.
        kept["score"], kept["rank"] = scores[rows], np.minimum(rank, _LIMITS[-1])
        kept["image_rank"] = self._image_rank[images[owner[rows]]]
        found = GroupedDetections(bbox[rows, 2] * bbox[rows, 3], group[rows], rank)
        wanted, truth_rows = self._wanted(images)
        iou = self._overlap.pairs(bbox[rows], images[owner[rows]], truth_rows)
        matches = match(found, wanted, iou)
        kept["hits"], kept["ignored"] = matches.hits, matches.ignored
        self._keep(kept, classes_category[rows])
        boxes = np.where(matches.box < 0, -1, np.append(truth_rows, -1)[matches.box])
        first = bit(0, 0)
        return MatchedRows(rows, boxes, (matches.ignored >> first & 1).astype(np.bool_))

    def _mark(self, images: Ints) -> None:
        if self._seen[images].any() or len(np.unique(images)) != len(images):
            raise ValueError("an image was added twice")
        self._seen[images] = True

    def _keep(self, kept: NDArray[np.void], category: NDArray[np.int32]) -> None:
        counts = np.bincount(category, minlength=len(self._categories))
        order = np.argsort(category, kind="stable")
        self._chunks.append((kept[order], np.concatenate([[0], np.cumsum(counts)])))

    def _wanted(self, images: Ints) -> tuple[GroupedTruth, Ints]:
        """Select the ground truth of some images, by group, and its rows; count the positives."""
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
        return GroupedTruth(group, crowd, ignored), rows

    def result(self) -> Metrics:
        """Return the metrics of the images added so far."""
        shape = (len(self._categories), len(AREAS), len(THRESHOLDS))
        precision, recall = np.empty(shape), np.empty((*shape, len(_LIMITS)))
        for category in range(len(self._categories)):
            parts = [kept[ends[category] : ends[category + 1]] for kept, ends in self._chunks]
            kept = np.concatenate([np.empty(0, _KEPT), *parts])
            precision[category], recall[category] = _curves(kept, self._positives[category])
        stats = {}
        for name, (measure, threshold, area, limit) in STATS.items():
            values = precision if measure == "Precision" else recall[..., _LIMITS.index(limit)]
            values = values[:, list(AREAS).index(area)]
            stats[name] = _mean(values if threshold is None else values[:, threshold])
        classes = tuple(
            ClassMetrics(
                category, _mean(ap), _mean(ap[:1]), _mean(ap[5:6]), _mean(ar), boxes, detections
            )
            for category, ap, ar, boxes, detections in zip(
                self._categories,
                precision[:, 0],
                recall[:, 0, :, -1],
                self._positives[:, 0].tolist(),
                self._detections.tolist(),
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
    """Compute AP [areas, thresholds] and recall [areas, thresholds, limits] of a class.

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
            precision[a, t] = average_precision(found, np.cumsum(wrong)[found], positives[a])
            recall[a, t] = [np.count_nonzero(rank[found] < n) / positives[a] for n in _LIMITS]
    return precision, recall


def _mean(values: Floats) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
