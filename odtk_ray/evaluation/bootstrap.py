"""Compares two detectors: paired bootstrap, over images, of differences of AP.

Both detectors are scored on the same draws of images, with replacement, so that what the images
have in common cancels. Images that resemble each other, such as turned copies of one picture, are
drawn together as a group: drawn one by one they would make the interval too narrow. Detections are
matched once; a draw only gives every image a weight, the number of times that it came.
Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile
intervals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import GroundTruth
from odtk_ray.evaluation.average_precision import RECALLS
from odtk_ray.evaluation.matching import (
    THRESHOLDS,
    Floats,
    GroupedDetections,
    GroupedTruth,
    Ints,
    bit,
    ignored_boxes,
    match,
    rank_in_runs,
)
from odtk_ray.evaluation.overlap import BoxOverlap

_LIMIT = 100  # detections of an image and class that count, best first
_FIGURES = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}  # of THRESHOLDS


@dataclass(frozen=True)
class Difference:
    """One figure of two detectors, and the interval of their difference.

    Attributes:
        name: `AP`, `AP50` or `AP75`.
        a: of the first detector, over all images; -1 without boxes to find.
        b: of the second.
        low: lower end of the interval of b - a.
        high: upper end.
    """

    name: str
    a: float
    b: float
    low: float
    high: float


def compare(
    truth: GroundTruth,
    a: DetectionTable,
    b: DetectionTable,
    *,
    groups: Ints,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Difference]:
    """Compute AP, AP50 and AP75 of two detectors on the same images, with intervals.

    The figures are those of COCOeval with iouType "bbox"; a draw in which a category has no boxes
    to find leaves it out.

    Args:
        truth: the boxes to find.
        a: the first detector.
        b: the second.
        groups: int64 [images], group of each image, 0 to the number of groups - 1; images without
            boxes or detections are in it too.
        draws: of groups, as many groups each time as there are.
        level: share of the draws whose difference lies in the interval.
        seed: of the draws.
    """
    images, count = len(groups), int(groups.max()) + 1
    categories = 1 + max(int(t.category.max(initial=-1)) for t in (truth, a, b))
    scored = [[_Matched(truth, table, c, images) for c in range(categories)] for table in (a, b)]
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    drawn = np.array(
        [[_figures(one, weights[groups]) for one in scored] for weights in times]
    )  # [draws, 2, figures]
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals = np.quantile(drawn[:, 1] - drawn[:, 0], tails, axis=0).T
    all_images = np.ones(images, np.int64)
    overall = zip(*(_figures(one, all_images).tolist() for one in scored), strict=True)
    return [
        Difference(name, first, second, low, high)
        for name, (first, second), (low, high) in zip(
            _FIGURES, overall, intervals.tolist(), strict=True
        )
    ]


class _Matched:
    """The detections of one category after matching, best first over all images.

    Attributes:
        positives: int64 [images], boxes to find.
        image: int64 [n].
        right: bool [thresholds, n].
        wrong: bool [thresholds, n]; neither where a detection is ignored.
    """

    def __init__(
        self, truth: GroundTruth, table: DetectionTable, category: int, images: int
    ) -> None:
        own = np.flatnonzero(table.category == category)
        own = own[np.lexsort((-table.score[own], table.image[own]))]
        rank = rank_in_runs(table.image[own])
        own, rank = own[rank < _LIMIT], rank[rank < _LIMIT]
        boxes = np.flatnonzero(truth.category == category)
        ignored = ignored_boxes(truth.area[boxes], truth.crowd[boxes])
        bbox, image = table.bbox[own], table.image[own]
        matches = match(
            GroupedDetections(bbox[:, 2] * bbox[:, 3], image, rank),
            GroupedTruth(truth.image[boxes], truth.crowd[boxes], ignored),
            BoxOverlap(truth).pairs(bbox, image, boxes),
        )
        counted = truth.image[boxes][ignored >> bit(0, 0) & 1 == 0]
        self.positives = np.bincount(counted, minlength=images)
        order = np.argsort(-table.score[own], kind="stable")  # equal scores by image, as COCOeval
        self.image = table.image[own][order]
        bits = np.array([[1 << bit(0, t)] for t in range(len(THRESHOLDS))])
        self.right = matches.hits[order] & bits != 0
        self.wrong = ~self.right & (matches.ignored[order] & bits == 0)

    def precisions(self, weights: Ints) -> Floats | None:
        """Compute AP at each IoU threshold with image i counted weights[i] times.

        The copies of a detection have equal scores and come one after the other. Among those of a
        right one precision rises, so the interpolated curve is the same with only the last of
        them, and cumulative sums of weights are exact.

        Returns:
            float64 [thresholds]; None without boxes to find.
        """
        positives = int(weights @ self.positives)
        if positives == 0:
            return None
        weight = weights[self.image]
        right = np.cumsum(self.right * weight, axis=1)
        total = right + np.cumsum(self.wrong * weight, axis=1)
        precision = right / (total + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        means = []
        for found, best in zip(right / positives, envelope, strict=True):
            first = np.searchsorted(found, RECALLS, side="left")
            means.append(np.append(best, 0.0)[first].mean())
        return np.array(means)


def _figures(categories: Sequence[_Matched], weights: Ints) -> Floats:
    """Compute the values of `_FIGURES`: means over the categories that have ground truth."""
    rows = [row for one in categories if (row := one.precisions(weights)) is not None]
    if not rows:
        return np.full(len(_FIGURES), -1.0)
    mean = np.mean(rows, axis=0)
    return np.array([mean[part].mean() for part in _FIGURES.values()])
