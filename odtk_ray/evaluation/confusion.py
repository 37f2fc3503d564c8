"""Counts which classes are taken for which, one detection for one box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odtk_ray.evaluation.analysis import Counts
from odtk_ray.evaluation.matching import Floats, Ints, rank_in_runs

Bools = NDArray[np.bool_]


def pair_up(score: Floats, image: Ints, pairs: tuple[Ints, Ints, Floats], taken: Bools) -> Ints:
    """Give each detection, the best of an image first, the nearest box that is free.

    Args:
        score: float64 [n].
        image: int64 [n].
        pairs: detection int64 [p], box int64 [p], IoU float64 [p].
        taken: bool [m], boxes that are not free; those that are given are marked.

    Returns:
        int64 [n], the box of each detection; -1 for none.
    """
    box = np.full(len(score), -1)
    det, gt, iou = pairs
    candidates = np.unique(det)
    candidates = candidates[np.lexsort((candidates, -score[candidates], image[candidates]))]
    rank = np.empty(len(score), np.int64)
    rank[candidates] = rank_in_runs(image[candidates])
    order = np.lexsort((gt, -iou, det, rank[det]))
    det, gt = det[order], gt[order]
    # Detections of one rank are of different images, so they cannot want the same box.
    for part in np.split(np.arange(len(det)), np.flatnonzero(np.diff(rank[det])) + 1):
        free = part[~taken[gt[part]]]
        chosen, first = np.unique(det[free], return_index=True)
        box[chosen] = gt[free[first]]
        taken[box[chosen]] = True
    return box


def confusion_matrix(box: Ints, category: Ints, truth: Ints, classes: int) -> Counts:
    """Count boxes by their class and by that of the detection on them.

    Args:
        box: int64 [n], position in `truth` of each detection's box; -1 for none.
        category: int64 [n], class of each detection.
        truth: int64 [m], class of each box to find.
        classes: number of classes.

    Returns:
        int64 [classes + 1, classes + 1]; see `Analysis`.
    """
    seen = np.full(len(truth), classes)
    seen[box[box >= 0]] = category[box >= 0]
    side = classes + 1
    nothing = category[box < 0]
    cells = np.concatenate([truth * side + seen, classes * side + nothing])
    return np.bincount(cells, minlength=side * side).reshape(side, side)
