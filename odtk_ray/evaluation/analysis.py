"""The whole analysis of a detector's results: what tables, reports and comparisons show.

Everything but `metrics` and `exact` is at IoU 0.5 (of rotated boxes: of their exact outlines), of
the best 100 detections of an image and class (of rotated boxes: of all).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ground_truth import Category
from odtk_ray.evaluation.metrics import Metrics

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Goal:
    """What the threshold of each class is chosen for.

    Attributes:
        figure: the best F1, or the most recall at a precision, or the best precision at a recall.
        least: that precision or recall; without meaning for F1.
    """

    figure: Literal["F1", "precision", "recall"] = "F1"
    least: float = 0.0

    def __str__(self) -> str:
        return "the best F1" if self.figure == "F1" else f"{self.figure} {self.least:g}"


@dataclass(frozen=True)
class OperatingPoint:
    """A class at one threshold.

    Attributes:
        threshold: scores greater than this count.
        right: detections that have found a box.
        wrong: those that have not.
        positives: boxes to find, at least 1.
    """

    threshold: float
    right: int
    wrong: int
    positives: int

    @property
    def precision(self) -> float:
        """Right ones of the detections that count."""
        return self.right / (self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Boxes that are found, of those to find."""
        return self.right / self.positives

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.right / (self.right + self.wrong + self.positives)


@dataclass(frozen=True)
class Curves:
    """Precision and recall of each class, over scores and over recalls.

    Attributes:
        scores: float64 [s], thresholds, ascending: 0 to 1 in hundredths, unless scores lie outside.
        right: int64 [classes, s], right detections of scores greater than each.
        wrong: int64 [classes, s], wrong ones.
        positives: int64 [classes], boxes to find.
        precision: float64 [classes, 101], interpolated at the recalls 0, 0.01, .. 1, as COCO does.
    """

    scores: Floats
    right: Counts
    wrong: Counts
    positives: Counts
    precision: Floats


@dataclass(frozen=True)
class ErrorCost:
    """What one kind of error costs.

    Attributes:
        kind: one of `status.ERRORS`.
        count: such errors at any score.
        at_thresholds: such errors at the chosen thresholds.
        ap: by how much AP50 would rise if all of them were corrected, and nothing else; at least 0.
    """

    kind: str
    count: int
    at_thresholds: int
    ap: float


@dataclass(frozen=True)
class SizeRow:
    """The boxes of one of COCO's size ranges; each box is in the first range that it fits.

    Attributes:
        name: small (up to 32 x 32 pixels), medium (96 x 96) or large.
        boxes: boxes to find.
        ap: COCO's AP of the range; -1 without boxes.
        ar: COCO's AR of the range; -1 without boxes.
        counts: int64 [7], at the chosen thresholds, in the order of `status.KINDS`: right
            detections by the size of the box that they found, wrong ones by their own, missed
            boxes by theirs.
    """

    name: str
    boxes: int
    ap: float
    ar: float
    counts: Counts


@dataclass(frozen=True)
class DetectionFacts:
    """What each detection is, in the order in which they were added.

    Attributes:
        status: uint8 [n], of `status.Status`.
        box: int32 [n], row of the ground truth that it has found, would find with another class
            or place, or that is found already by a better one; -1 for none.
        iou: float32 [n], with that box; where there is none, with the nearest of another class, 0
            for less than 0.1.
    """

    status: NDArray[np.uint8]
    box: NDArray[np.int32]
    iou: NDArray[np.float32]


@dataclass(frozen=True)
class TruthFacts:
    """What each box to find is, in the order of the ground truth.

    Attributes:
        status: uint8 [m], of `status.TruthStatus`.
        detection: int64 [m], the detection that has found it, as counted by `DetectionFacts`; -1
            for none.
    """

    status: NDArray[np.uint8]
    detection: NDArray[np.int64]


@dataclass(frozen=True)
class Analysis:
    """The analysis of a detector's results.

    Attributes:
        categories: in the order of the annotation file.
        metrics: COCO's figures: of boxes, or of the masks of rotated boxes, as ODTK has them.
        exact: of rotated boxes also the same figures by exact polygons, without pixels.
        goal: what the thresholds were chosen for.
        points: for each class what it is at its threshold; None where it has no boxes to find, no
            right detection, or cannot reach the goal.
        curves: precision and recall.
        confusion: int64 [classes + 1, classes + 1] at the chosen thresholds: the class of a box
            down, that of the detection on it across, one to one. In the last row are detections on
            no box, in the last column boxes without a detection.
        errors: in the order of `status.ERRORS`.
        error_base: the AP50 that the costs of errors are added to. As in TIDE's own program a class
            that has detections, and no boxes to find, counts as 0 in it.
        sizes: small, medium and large.
        detections: what each detection is.
        truth: what each box to find is.
        images: int32 [records, 7], counts of each image at the chosen thresholds, in the order of
            `status.KINDS`; by record index.
    """

    categories: tuple[Category, ...]
    metrics: Metrics
    exact: Metrics | None
    goal: Goal
    points: tuple[OperatingPoint | None, ...]
    curves: Curves
    confusion: Counts
    errors: tuple[ErrorCost, ...]
    error_base: float
    sizes: tuple[SizeRow, ...]
    detections: DetectionFacts
    truth: TruthFacts
    images: NDArray[np.int32]
