"""Compares detectors: paired bootstrap, over images, of differences of AP.

All detectors are scored on the same draws of images, with replacement, so that what the images
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
from numpy.typing import NDArray

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
from odtk_ray.evaluation.overlap import BoxOverlap, Overlap

FIGURES = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}  # of THRESHOLDS
Weights = NDArray[np.int16]

_BLOCK = 1 << 21  # numbers of draws, thresholds and detections at a time


@dataclass(frozen=True)
class Difference:
    """One figure of two detectors, and the interval of their difference.

    Attributes:
        name: `AP`, `AP50` or `AP75`; of a class, its AP, the position of its category.
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

    @property
    def by_chance(self) -> bool:
        """Whether 0 lies in the interval: the difference may well be chance."""
        return self.low <= 0 <= self.high


class Bootstrap:
    """The figures of several detectors on the same draws of images.

    The figures are those of COCOeval; a draw in which a category has no boxes to find leaves it
    out.

    Args:
        truth: the boxes to find.
        tables: the detections of each detector.
        categories: number of categories.
        groups: int64 [images], group of each image, 0 to the number of groups - 1; images without
            boxes or detections are in it too.
        draws: of groups, as many groups each time as there are.
        seed: of the draws.
        overlap: how detections are compared with the truth; boxes, unless it is given.
    """

    def __init__(
        self,
        truth: GroundTruth,
        tables: Sequence[DetectionTable],
        *,
        categories: int,
        groups: Ints,
        draws: int = 1000,
        seed: int = 0,
        overlap: Overlap | None = None,
    ) -> None:
        images, count = len(groups), int(groups.max()) + 1
        self._overlap = overlap or BoxOverlap(truth)
        rng = np.random.default_rng(seed)
        # In the first row are all images, once each. Numbers are small, and there may be many.
        weights = np.ones((1 + draws, images), np.int16)
        for row in weights[1:]:
            row[:] = rng.multinomial(count, np.full(count, 1 / count))[groups]
        # [detectors, draws, figures and classes]
        self._values = np.stack(
            [self._figures(truth, table, categories, weights) for table in tables]
        )

    def _figures(
        self, truth: GroundTruth, table: DetectionTable, categories: int, weights: Weights
    ) -> Floats:
        """Compute the values of `FIGURES` and the AP of each class, [draws, 3 + classes]."""
        precisions = np.stack(
            [
                _MatchedClass(truth, table, c, weights.shape[1], self._overlap).precisions(weights)
                for c in range(categories)
            ],
            axis=-1,
        )  # [draws, thresholds, classes]
        columns = [_mean(precisions[:, part], axis=(1, 2)) for part in FIGURES.values()]
        return np.column_stack([*columns, _mean(precisions, axis=1)])

    def difference(self, a: int, b: int, level: float = 0.95) -> list[Difference]:
        """Compare two detectors.

        Args:
            a: position of the first.
            b: of the second.
            level: share of the draws whose difference lies in the interval.

        Returns:
            AP, AP50, AP75, then the AP of each class.
        """
        drawn = np.nan_to_num(self._values[[a, b], 1:], nan=-1.0)
        whole = np.nan_to_num(self._values[[a, b], 0], nan=-1.0)
        undefined = np.isnan(self._values[a, 1:])
        differences = np.where(undefined, np.nan, drawn[1] - drawn[0])
        differences[:, undefined.all(axis=0)] = 0
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.nanquantile(differences, tails, axis=0)
        names = [*FIGURES, *map(str, range(len(low) - len(FIGURES)))]
        columns = (whole[0].tolist(), whole[1].tolist(), low.tolist(), high.tolist())
        return [Difference(name, *row) for name, *row in zip(names, *columns, strict=True)]


class _MatchedClass:
    """The detections of one category after matching, best first over all images.

    Attributes:
        positives: int64 [images], boxes to find.
        image: int64 [n].
        right: bool [thresholds, n].
        counted: the thresholds that share a mask bool [n] of what is right or wrong, not ignored.
    """

    def __init__(
        self,
        truth: GroundTruth,
        table: DetectionTable,
        category: int,
        images: int,
        overlap: Overlap,
    ) -> None:
        own = np.flatnonzero(table.category == category)
        own = own[np.lexsort((-table.score[own], table.image[own]))]
        rank = rank_in_runs(table.image[own])
        counted = rank < (overlap.limit or np.inf)
        own, rank = own[counted], rank[counted]
        boxes = np.flatnonzero(truth.category == category)
        ignored = ignored_boxes(truth.area[boxes], truth.crowd[boxes])
        bbox, image = table.bbox[own], table.image[own]
        matches = match(
            GroupedDetections(bbox[:, 2] * bbox[:, 3], image, rank),
            GroupedTruth(truth.image[boxes], truth.crowd[boxes], ignored),
            overlap.pairs(bbox, image, boxes),
        )
        wanted = truth.image[boxes][ignored >> bit(0, 0) & 1 == 0]
        self.positives = np.bincount(wanted, minlength=images)
        order = np.argsort(-table.score[own], kind="stable")  # equal scores by image, as COCOeval
        self.image = table.image[own][order]
        bits = np.array([[1 << bit(0, t)] for t in range(len(THRESHOLDS))])
        self.right = matches.hits[order] & bits != 0
        self.counted: dict[bytes, tuple[NDArray[np.bool_], list[int]]] = {}
        for t, mask in enumerate(self.right | (matches.ignored[order] & bits == 0)):
            self.counted.setdefault(mask.tobytes(), (mask, []))[1].append(t)

    def precisions(self, weights: Weights) -> Floats:
        """Compute AP at each IoU threshold with image i counted weights[d, i] times.

        The copies of a detection have equal scores and come one after the other. Among those of a
        right one precision rises, so the interpolated curve is the same with only the last of
        them, and cumulative sums of weights are exact.

        Args:
            weights: int16 [draws, images].

        Returns:
            float64 [draws, thresholds]; NaN without boxes to find.
        """
        wanted = np.flatnonzero(self.positives)
        positives = weights[:, wanted] @ self.positives[wanted]
        values = np.full((len(weights), len(THRESHOLDS)), np.nan)
        some = np.flatnonzero(positives)
        step = max(1, _BLOCK // max(1, len(THRESHOLDS) * len(self.image)))
        for start in range(0, len(some), step):
            draws = some[start : start + step]
            values[draws] = self._of_draws(weights[draws][:, self.image], positives[draws])
        return values

    def _of_draws(self, weight: Weights, positives: Ints) -> Floats:
        """Compute AP at each threshold, of weights [draws, n] of detections.

        Only at right detections the precision is needed: others lower it.
        """
        values = np.zeros((len(weight), len(THRESHOLDS)))
        # How many of the recalls are reached with so many boxes found, [draws, boxes + 1].
        found = np.arange(positives.max() + 1)
        reached = np.searchsorted(RECALLS, found / positives[:, None], side="right")
        for mask, thresholds in self.counted.values():
            total = np.cumsum(weight * mask, axis=1, dtype=np.int64)
            for t in thresholds:
                places = np.flatnonzero(self.right[t])
                right = np.cumsum(weight[:, places], axis=1, dtype=np.int64)
                precision = right / (total[:, places] + np.spacing(1))
                envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
                counts = np.diff(np.take_along_axis(reached, right, axis=1), axis=1, prepend=0)
                values[:, t] = (envelope * counts).sum(axis=1) / len(RECALLS)
        return values


def _mean(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Average what is not NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    means = np.full(count.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means
