"""The boxes that are drawn over one picture, as the paths of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import GroundTruth
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.evaluation.status import Status, TruthStatus
from odtk_ray.reports.content import Content, Ints

MOST_BOXES = 300  # of a picture, detections and ground truth each

_WORDS = {
    Status.RIGHT: "right",
    Status.CLASS: "wrong class",
    Status.LOCATION: "beside its box",
    Status.BOTH: "wrong class, and beside the box",
    Status.DUPLICATE: "second on its box",
    Status.BACKGROUND: "on nothing",
}


@dataclass(frozen=True)
class Box:
    """A box over a picture.

    Attributes:
        kind: `right`, `wrong` or `missed`.
        path: `d` of an SVG path, in pixels of the picture.
        category: position of its class.
        score: of the detection; of a box to find, of the detection that found it. None where no
            detection did.
        shown: whether it is there at the chosen thresholds.
        text: what it is, in words.
    """

    kind: str
    path: str
    category: int
    score: float | None
    shown: bool
    text: str


@dataclass(frozen=True)
class BoxSource:
    """The boxes of the chosen images.

    Attributes:
        content: of the report.
        limits: float64 [classes], a detection counts if its score is greater.
        rows: int64 [n], rows of the detections in the analysis.
        table: the detections.
    """

    content: Content
    limits: NDArray[np.float64]
    rows: Ints
    table: DetectionTable

    @classmethod
    def of(cls, content: Content, images: Ints) -> BoxSource:
        """Read the detections of some images."""
        points = content.detector.analysis.points
        limits = np.array([np.inf if point is None else point.threshold for point in points])
        return cls(content, limits, *content.detector.select(np.sort(images)))

    def boxes(self, image: int) -> list[Box]:
        """Return the boxes of an image: ground truth first, then detections, the best last."""
        return [*self._truth(image), *self._detections(image)]

    def _detections(self, image: int) -> list[Box]:
        first, stop = np.searchsorted(self.table.image, [image, image + 1])
        here = np.arange(first, stop)
        facts = self.content.detector.analysis.detections
        here = here[facts.status[self.rows[here]] <= Status.BACKGROUND]
        here = here[np.argsort(-self.table.score[here], kind="stable")][:MOST_BOXES][::-1]
        paths = _paths(_outlines(self.table.bbox[here]))
        return [self._detection(int(i), path) for i, path in zip(here, paths, strict=True)]

    def _detection(self, i: int, path: str) -> Box:
        facts, row = self.content.detector.analysis.detections, self.rows[i]
        status = Status(int(facts.status[row]))
        category, score = int(self.table.category[i]), float(self.table.score[i])
        name = self._class(category)
        text = f"{name} {score:.2f}: {_WORDS[status]}"
        if status is Status.CLASS:
            text += f", which is {self._class(self.content.truth.category[facts.box[row]])}"
        if facts.iou[row] > 0:
            text += f", IoU {facts.iou[row]:.2f}"
        kind = "right" if status is Status.RIGHT else "wrong"
        return Box(kind, path, category, score, score > self.limits[category], text)

    def _truth(self, image: int) -> list[Box]:
        truth, analysis = self.content.truth, self.content.detector.analysis
        first, stop = np.searchsorted(truth.image, [image, image + 1])
        here = np.arange(first, stop)
        here = here[analysis.truth.status[here] <= TruthStatus.MISSED][:MOST_BOXES]
        outlines = truth_outlines(truth, here)
        scores = self._finders(analysis, here)
        boxes = []
        for row, score, path in zip(here, scores, _paths(outlines), strict=True):
            category = int(truth.category[row])
            missed = score is None or not score > self.limits[category]
            text = f"{self._class(category)}: missed"
            boxes.append(Box("missed", path, category, score, missed, text))
        return boxes

    def _finders(self, analysis: Analysis, truth_rows: Ints) -> list[float | None]:
        """Return the scores of the detections that found some boxes."""
        finders = analysis.truth.detection[truth_rows]
        order = np.argsort(self.rows, kind="stable")
        places = np.searchsorted(self.rows, finders, sorter=order)
        return [
            None if finder < 0 else float(self.table.score[order[place]])
            for finder, place in zip(finders.tolist(), places.tolist(), strict=True)
        ]

    def _class(self, category: int) -> str:
        return self.content.detector.analysis.categories[category].name


def truth_outlines(truth: GroundTruth, rows: Ints) -> list[NDArray[np.float64]]:
    """Return the corners of some boxes of the ground truth, float64 [k, 2] each."""
    if truth.polygons is None:
        return _outlines(truth.bbox[rows])
    return [np.array(truth.polygons.rings(int(row))[0]).reshape(-1, 2) for row in rows]


def _outlines(bbox: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the corners of boxes, [n, 4 or 5]."""
    if bbox.shape[1] == 5:
        return list(corners(bbox))
    x, y, w, h = bbox.T
    return list(np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1).reshape(-1, 4, 2))


def _paths(outlines: Sequence[NDArray[np.float64]]) -> list[str]:
    return [
        "M" + "L".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in outline) + "z"
        for outline in outlines
    ]
