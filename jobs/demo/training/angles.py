"""Evaluates rotated detections, and how much their angles contribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import Category, GroundTruth
from odtk_ray.datasets.polygons import Polygons
from odtk_ray.evaluation.coco_evaluator import CocoEvaluator
from odtk_ray.evaluation.matching import Floats, Ints
from odtk_ray.evaluation.metrics import Metrics
from odtk_ray.evaluation.overlap import PolygonOverlap

_MATCHED = 0.5  # IoU


@dataclass(frozen=True)
class AngleReport:
    """The figures of rotated detections.

    Attributes:
        metrics: COCO's figures by exact polygons.
        unturned: the same of these detections with theta set to 0.
        error: median angle between the longer sides of detections and of the boxes that they
            match, in degrees from 0 to 90; None without matches.
        matches: number of these pairs.
    """

    metrics: Metrics
    unturned: Metrics
    error: float | None
    matches: int

    def figures(self) -> dict[str, float | None]:
        """Return the figures that sum it up, by name."""
        stats = self.metrics.stats
        return {
            **{name: stats[name] for name in ("AP", "AP50", "AP75")},
            "AP50 unturned": self.unturned.stats["AP50"],
            "angle error": self.error,
        }


def report_angles(
    truth: GroundTruth, categories: Sequence[Category], table: DetectionTable, images: int
) -> AngleReport:
    """Evaluate rotated detections by exact polygons, with their angles and without.

    For the angle error, each image's detections choose in the order of their scores: the free box
    of their class with the greatest IoU, if that is at least 0.5.

    Args:
        truth: with outlines.
        categories: of both.
        table: the detections, `bbox` [n, 5].
        images: number of images.

    Raises:
        ValueError: the ground truth was read without its outlines.
    """
    if truth.polygons is None:
        raise ValueError("rotated detections cannot be judged without outlines")
    overlap = PolygonOverlap(truth)

    def metrics(bbox: Floats) -> Metrics:
        order = np.argsort(table.image, kind="stable")
        evaluator = CocoEvaluator(truth, categories, np.arange(images), overlap)
        evaluator.add(
            np.arange(images),
            np.bincount(table.image, minlength=images),
            table.score[order],
            table.category[order].astype(np.int32),
            bbox[order],
        )
        return evaluator.result()

    found, wanted = _matches(truth, table, overlap)
    turned = table.bbox[found, 4] - long_sides(truth.polygons)[wanted]
    turned = turned + np.pi / 2 * (table.bbox[found, 2] < table.bbox[found, 3])
    errors = np.degrees(np.abs((turned + np.pi / 2) % np.pi - np.pi / 2))
    return AngleReport(
        metrics(table.bbox),
        metrics(table.bbox * [1, 1, 1, 1, 0]),
        float(np.median(errors)) if len(errors) else None,
        len(errors),
    )


def long_sides(polygons: Polygons) -> Floats:
    """Compute the direction of each outline's longest edge, float64 [n], radians clockwise."""
    edges = polygons.edges()
    along = edges.stop - edges.start
    lengths = np.hypot(*along.T)
    # Sorted by length within its object, the last edge of each is the longest.
    owner = np.repeat(np.arange(len(edges.area)), np.diff(edges.ends))
    longest = np.lexsort((lengths, owner))[edges.ends[1:] - 1]
    directions: Floats = np.arctan2(along[longest, 1], along[longest, 0])
    return directions


def _matches(
    truth: GroundTruth, table: DetectionTable, overlap: PolygonOverlap
) -> tuple[Ints, Ints]:
    """Return rows of detections and of the boxes that they match, int64 [k] each."""
    pairs: list[tuple[int, int]] = []
    for image in np.unique(table.image):
        rows = np.flatnonzero(table.image == image)
        rows = rows[np.argsort(-table.score[rows], kind="stable")]
        boxes = np.flatnonzero((truth.image == image) & ~truth.crowd)
        det, gt = (grid.ravel() for grid in np.indices((len(rows), len(boxes))))
        iou = overlap.pairs(table.bbox[rows], table.image[rows], boxes)(det, gt)
        iou = iou.reshape(len(rows), len(boxes))
        iou[table.category[rows][:, None] != truth.category[boxes]] = 0
        for row, own in zip(rows.tolist(), iou, strict=True):
            best = int(own.argmax()) if len(own) else -1
            if best >= 0 and own[best] >= _MATCHED:
                pairs.append((row, int(boxes[best])))
                iou[:, best] = 0
    found, wanted = np.array(pairs, np.int64).reshape(-1, 2).T
    return found, wanted
