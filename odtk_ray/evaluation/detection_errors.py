"""Says of each wrong detection what kind of error it is, by TIDE's definitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ground_truth import GroundTruth
from odtk_ray.evaluation.coco_evaluator import MatchedRows
from odtk_ray.evaluation.matching import Floats, Ints, expand, overlapping
from odtk_ray.evaluation.overlap import Overlap
from odtk_ray.evaluation.status import FOUND_IOU, NEAR_IOU, Status

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """The detections of some images.

    Attributes:
        images: int64 [m], record index of each image.
        owner: int64 [n], position in `images` of each detection's image, ascending.
        score: float64 [n].
        category: int32 [n].
        bbox: float64 [n, 4 or 5].
    """

    images: Ints
    owner: Ints
    score: Floats
    category: NDArray[np.int32]
    bbox: Floats


@dataclass(frozen=True)
class Explained:
    """What the detections of some images are.

    Attributes:
        status: uint8 [n], of `Status`.
        box: int64 [n], row of the ground truth: what is found, or would be, or is found already;
            -1 for none.
        iou: float64 [n], with that box; where there is none, with the nearest of any class, 0 for
            less than 0.1.
        fixes: bool [n], whether the box is found when this error is corrected: of all detections
            that would find it the best.
        pairs: detection int64 [p], row of the ground truth int64 [p], IoU float64 [p]: wrong
            detections on boxes of another class.
    """

    status: NDArray[np.uint8]
    box: Ints
    iou: Floats
    fixes: Bools
    pairs: tuple[Ints, Ints, Floats]


def explain(found: Found, matched: MatchedRows, truth: GroundTruth, overlap: Overlap) -> Explained:
    """Say what the detections of some images are.

    Args:
        found: the detections.
        matched: what those that count have found.
        truth: of these images and others.
        overlap: how detections are compared with the truth.
    """
    n = len(found.score)
    status = np.full(n, Status.NOT_COUNTED, np.uint8)
    box, iou = np.full(n, -1), np.zeros(n)
    right = matched.box >= 0
    status[matched.rows] = np.where(
        right, Status.RIGHT, np.where(matched.ignored, Status.IGNORED, Status.BACKGROUND)
    )
    box[matched.rows] = matched.box
    rows = _truth_rows(found.images, truth)
    ours = np.flatnonzero(right)
    iou[matched.rows[ours]] = _iou_of(found, overlap, matched.rows[ours], matched.box[ours])

    wrong = np.sort(matched.rows[~right & ~matched.ignored])
    pairs = _near_pairs(found, wrong, truth, rows, overlap)
    used = np.zeros(len(truth), np.bool_)
    used[matched.box[ours]] = True
    _judge(found, pairs, truth.category, used, (status, box, iou))
    fixes = _fixes(found.score, status, box, used)
    det, gt, value = pairs
    other = (value >= FOUND_IOU) & (found.category[det] != truth.category[gt])
    return Explained(status, box, iou, fixes, (det[other], gt[other], value[other]))


def _truth_rows(images: Ints, truth: GroundTruth) -> tuple[Ints, Ints]:
    """Return the rows of the ground truth of some images, without crowds, and their owners."""
    first = np.searchsorted(truth.image, images, side="left")
    count = np.searchsorted(truth.image, images, side="right") - first
    rows, owner = expand(first, count), np.repeat(np.arange(len(images)), count)
    counted = ~truth.crowd[rows]
    return rows[counted], owner[counted]


def _iou_of(found: Found, overlap: Overlap, rows: Ints, boxes: Ints) -> Floats:
    """Compute the IoU of detections with one box each."""
    iou = overlap.pairs(found.bbox[rows], found.images[found.owner[rows]], boxes)
    return iou(np.arange(len(rows)), np.arange(len(rows)))


def _near_pairs(
    found: Found, wrong: Ints, truth: GroundTruth, rows: tuple[Ints, Ints], overlap: Overlap
) -> tuple[Ints, Ints, Floats]:
    """Pair wrong detections with boxes of any class; by detection, the nearest first."""
    wanted, owner = rows
    iou = overlap.pairs(found.bbox[wrong], found.images[found.owner[wrong]], wanted)
    det, gt, value = overlapping(found.owner[wrong], owner, iou, NEAR_IOU)
    order = np.lexsort((gt, -value, det))
    return wrong[det[order]], wanted[gt[order]], value[order]


def _judge(
    found: Found,
    pairs: tuple[Ints, Ints, Floats],
    category: NDArray[np.int32],
    used: Bools,
    result: tuple[NDArray[np.uint8], Ints, Floats],
) -> None:
    """Fill in status, box and IoU of wrong detections, the weakest reason first."""
    status, box, iou = result
    det, gt, value = pairs
    same = found.category[det] == category[gt]

    def mark(kind: Status, fits: Bools, chosen: Bools | None = None) -> None:
        """Mark the detections whose nearest of some boxes fits."""
        candidates = np.flatnonzero(fits if chosen is None else chosen)
        _, first = np.unique(det[candidates], return_index=True)
        nearest = candidates[first]
        nearest = nearest[fits[nearest]]
        status[det[nearest]], iou[det[nearest]] = kind, value[nearest]
        box[det[nearest]] = gt[nearest] if kind is not Status.BOTH else -1

    mark(Status.BOTH, value > NEAR_IOU)
    mark(Status.DUPLICATE, same & used[gt] & (value >= FOUND_IOU))
    mark(Status.CLASS, ~same & (value >= FOUND_IOU))
    mark(Status.LOCATION, value <= FOUND_IOU, chosen=same)
    # What lies near a box of its class, is no duplicate and still wrong, lies at exactly 0.5.


def _fixes(score: Floats, status: NDArray[np.uint8], box: Ints, used: Bools) -> Bools:
    """Mark the best of all class and location errors on each box that is not found."""
    fixes = np.zeros(len(score), np.bool_)
    open_ = np.flatnonzero(np.isin(status, (Status.CLASS, Status.LOCATION)))
    open_ = open_[~used[box[open_]]]
    best = open_[np.lexsort((open_, -score[open_], box[open_]))]
    _, first = np.unique(box[best], return_index=True)
    fixes[best[first]] = True
    return fixes
