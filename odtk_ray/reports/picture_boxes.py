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
from odtk_ray.reports.content import Detector, Floats, Ints

MOST_BOXES = 300  # of a picture: detections of each detector, and boxes to find

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
    """A box over a picture: a detection, or a box to find, which is drawn where it is missed.

    Attributes:
        role: `right`, `wrong` or `missed`.
        letter: of the detector, a or b; empty for boxes to find, and where there is one detector.
        path: `d` of an SVG path, in pixels of the picture.
        category: position of its class.
        score: of the detection; of a box to find, of the detection of the first detector that found
            it. None where none did.
        other: likewise of the other detector's detection on the same box to find.
        shown: whether it is there at the chosen thresholds.
        both: of a right one, whether both detectors found its box at the chosen thresholds.
        text: what it is, in words.
    """

    role: str
    letter: str
    path: str
    category: int
    score: float | None
    other: float | None
    shown: bool
    both: bool
    text: str

    @property
    def kind(self) -> str:
        """What readers can switch on and off."""
        if self.both:
            return "both"
        return f"{self.role}-{self.letter}" if self.letter else self.role


class PictureBoxes:
    """Finds the boxes of some images.

    Args:
        truth: the boxes to find.
        detectors: one, or two that are compared.
        images: the images, in any order.
    """

    def __init__(self, truth: GroundTruth, detectors: Sequence[Detector], images: Ints) -> None:
        self._truth = truth
        self._categories = [category.name for category in detectors[0].analysis.categories]
        self._found = [_Found.of(detector, np.sort(images)) for detector in detectors]

    def of_image(self, image: int) -> list[Box]:
        """Return the boxes of an image: boxes to find first, then detections, the best last."""
        first, stop = np.searchsorted(self._truth.image, [image, image + 1]).tolist()
        rows = np.arange(first, stop)
        # By detector: the score that found each box, -inf for none; in the last place for no box.
        finders = [np.append(found.finders(rows), -np.inf) for found in self._found]
        boxes = self._missed(rows, finders)
        for d, found in enumerate(self._found):
            boxes += self._detections(d, found.of_image(image), first, finders[1 - d :][:1])
        return boxes

    def _missed(self, rows: Ints, finders: Sequence[Floats]) -> list[Box]:
        wanted = self._found[0].analysis.truth.status[rows] <= TruthStatus.MISSED
        places = np.flatnonzero(wanted)[:MOST_BOXES]
        paths = _paths(truth_outlines(self._truth, rows[places]))
        boxes = []
        for place, path in zip(places.tolist(), paths, strict=True):
            category = int(self._truth.category[rows[place]])
            scores = [float(of_detector[place]) for of_detector in finders]
            found = any(
                score > one.limits[category] for score, one in zip(scores, self._found, strict=True)
            )
            known = [None if score == -np.inf else score for score in (*scores, -np.inf)]
            text = f"{self._categories[category]}: missed"
            boxes.append(
                Box("missed", "", path, category, known[0], known[1], not found, False, text)
            )
        return boxes

    def _detections(
        self, d: int, here: Ints, first: int, other_finders: Sequence[Floats]
    ) -> list[Box]:
        found = self._found[d]
        paths = _paths(_outlines(found.table.bbox[here]))
        boxes = []
        for i, path in zip(here.tolist(), paths, strict=True):
            status = Status(int(found.analysis.detections.status[found.rows[i]]))
            category, score = int(found.table.category[i]), float(found.table.score[i])
            shown = score > found.limits[category]
            other, both = None, False
            if status is Status.RIGHT and len(self._found) == 2:
                place = int(found.analysis.detections.box[found.rows[i]]) - first
                other = float(other_finders[0][place])
                both = shown and other > self._found[1 - d].limits[category]
                other = None if other == -np.inf else other
            role = "right" if status is Status.RIGHT else "wrong"
            text = self._text(found, i, status)
            boxes.append(Box(role, found.letter, path, category, score, other, shown, both, text))
        return boxes

    def _text(self, found: _Found, i: int, status: Status) -> str:
        facts, row = found.analysis.detections, found.rows[i]
        name = self._categories[found.table.category[i]]
        prefix = f"{found.letter.upper()}: " if found.letter else ""
        text = f"{prefix}{name} {found.table.score[i]:.2f}: {_WORDS[status]}"
        if status is Status.CLASS:
            text += f", it is {self._categories[self._truth.category[facts.box[row]]]}"
        return text + (f", IoU {facts.iou[row]:.2f}" if facts.iou[row] > 0 else "")


@dataclass(frozen=True)
class _Found:
    """The detections of one detector in the chosen images.

    Attributes:
        letter: of the detector.
        analysis: of all its detections.
        limits: float64 [classes], detections with greater scores count.
        rows: int64 [n], of the detections in the analysis.
        order: int64 [n], sorts `rows`.
        table: the detections, by image.
    """

    letter: str
    analysis: Analysis
    limits: Floats
    rows: Ints
    order: Ints
    table: DetectionTable

    @classmethod
    def of(cls, detector: Detector, images: Ints) -> _Found:
        """Read the detections of some images, ascending."""
        points = detector.analysis.points
        limits = np.array([np.inf if point is None else point.threshold for point in points])
        rows, table = detector.select(images)
        order = np.argsort(rows, kind="stable")
        return cls(detector.letter, detector.analysis, limits, rows, order, table)

    def of_image(self, image: int) -> Ints:
        """Return the places in the table of an image's counted detections, the best last."""
        first, stop = np.searchsorted(self.table.image, [image, image + 1]).tolist()
        here = np.arange(first, stop)
        here = here[self.analysis.detections.status[self.rows[here]] <= Status.BACKGROUND]
        return here[np.argsort(-self.table.score[here], kind="stable")][:MOST_BOXES][::-1]

    def finders(self, truth_rows: Ints) -> Floats:
        """Return the score of the detection that found each box; -inf for none."""
        finders = self.analysis.truth.detection[truth_rows]
        scores = np.full(len(finders), -np.inf)
        known = np.flatnonzero(finders >= 0)
        places = np.searchsorted(self.rows, finders[known], sorter=self.order)
        scores[known] = self.table.score[self.order[places]]
        return scores


def truth_outlines(truth: GroundTruth, rows: Ints) -> list[NDArray[np.float64]]:
    """Return the corners of some boxes of the ground truth, float64 [k, 2] each."""
    if truth.polygons is None:
        return _outlines(truth.bbox[rows])
    return [np.array(truth.polygons.rings(int(row))[0]).reshape(-1, 2) for row in rows]


def _outlines(bbox: Floats) -> list[Floats]:
    """Return the corners of boxes, [n, 4 or 5]."""
    if bbox.shape[1] == 5:
        return list(corners(bbox))
    x, y, w, h = bbox.T
    return list(np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1).reshape(-1, 4, 2))


def _paths(outlines: Sequence[Floats]) -> list[str]:
    return [
        f"M{'L'.join(f'{round(x, 1):g},{round(y, 1):g}' for x, y in outline.tolist())}z"
        for outline in outlines
    ]
