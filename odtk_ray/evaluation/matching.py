"""Matches detections to ground truth as COCO does, for many images and classes at once.

Every (area range, IoU threshold) is one bit of an int64, so that the greedy matching of all images
for all 40 settings takes a few bitwise operations for each rank of a detection. The rules are those
of pycocotools' COCOeval.evaluateImg with default parameters:

- detections choose in order of rank: the free box with the greatest IoU, the last of equal ones;
- boxes that count win over ignored ones (crowd regions, areas out of range), whatever the IoU;
- crowd regions stay free, and their IoU is the share of the detection that they cover;
- a detection is ignored if its box is ignored, or if it has none and its own area is out of range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# The IoU of pairs, int64 [p] rows of the detections and of the ground truth to float64 [p].
PairIou = Callable[[Ints, Ints], Floats]

# Params.setDetParams of pycocotools 2.0; linspace as there, since arange differs in the last bits.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0, 1e10), "small": (0, 1024), "medium": (1024, 9216), "large": (9216, 1e10)}

_ROW = (1 << len(THRESHOLDS)) - 1  # the bits of one area range
_ALL = (1 << len(THRESHOLDS) * len(AREAS)) - 1
# The bits of the n least thresholds, for all area ranges.
_REACHED = np.array([((1 << n) - 1) * (_ALL // _ROW) for n in range(len(THRESHOLDS) + 1)], np.int64)

_PAIRS = 1 << 20  # pairs of detection and box compared at once: about 150 MB


def bit(area: int, threshold: int) -> int:
    """Return the number of the bit of an area range and a threshold, by their positions."""
    return len(THRESHOLDS) * area + threshold


def ignored_boxes(area: Floats, crowd: NDArray[np.bool_]) -> Ints:
    """Return the settings under which a ground truth box counts neither for nor against.

    Args:
        area: float64 [n], square pixels.
        crowd: bool [n].

    Returns:
        int64 [n] of bits.
    """
    return np.where(crowd, _ALL, _out_of_range(area))


@dataclass(frozen=True)
class GroupedDetections:
    """Detections, best first within each group (an image and a class).

    Attributes:
        area: float64 [n], w * h in square pixels.
        group: int64 [n], ascending.
        rank: int64 [n], place in the group.
    """

    area: Floats
    group: Ints
    rank: Ints


@dataclass(frozen=True)
class GroupedTruth:
    """Ground truth, in file order within each group.

    Attributes:
        group: int64 [m], ascending.
        crowd: bool [m].
        ignored: int64 [m] of bits, see `ignored_boxes`.
    """

    group: Ints
    crowd: NDArray[np.bool_]
    ignored: Ints


@dataclass(frozen=True)
class Matches:
    """What became of the detections.

    Attributes:
        hits: int64 [n] of bits, the settings under which a detection found a box that counts.
        ignored: int64 [n] of bits, those under which it is neither right nor wrong.
        box: int64 [n], row of the ground truth that it found at the least threshold, whatever the
            area; -1 where it found none.
    """

    hits: Ints
    ignored: Ints
    box: Ints


def match(found: GroupedDetections, wanted: GroupedTruth, iou: PairIou) -> Matches:
    """Match detections with the ground truth of their groups.

    Args:
        found: the detections.
        wanted: the ground truth.
        iou: compares rows of the two.
    """
    steps = _steps(found, wanted, iou)
    undecided = np.full(len(found.group), _ALL, np.int64)
    ignored = np.zeros(len(found.group), np.int64)
    free = np.full(len(wanted.group), _ALL, np.int64)
    box = np.full(len(found.group), -1, np.int64)
    for det, gt, bits, second in steps:
        taken = bits & undecided[det] & free[gt]
        undecided[det] &= ~taken
        ignored[det] |= np.where(second, taken, 0)
        free[gt] &= np.where(wanted.crowd[gt], _ALL, ~taken)
        first = (taken & ~ignored[det] & 1) != 0
        box[det[first]] = gt[first]
    hits = ~undecided & ~ignored & _ALL
    return Matches(hits, ignored | (undecided & _out_of_range(found.area)), box)


def _steps(
    found: GroupedDetections, wanted: GroupedTruth, measure: PairIou
) -> Iterator[tuple[Ints, Ints, Ints, NDArray[np.bool_]]]:
    """Yield the choices in the order in which they are made; no step repeats a row.

    A pair is open to the settings that count its box and to those that ignore it, so it is up to
    two choices. A step is the n-th choice of all detections of one rank.

    Yields:
        detections, boxes, the bits for which they would match, and whether the box is ignored.
    """
    det, gt, iou = overlapping(found.group, wanted.group, measure, THRESHOLDS[0])
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    reached = _REACHED[np.searchsorted(least, iou, side="right")]
    bits = np.concatenate([reached & ~wanted.ignored[gt], reached & wanted.ignored[gt]])
    second = np.arange(len(bits)) >= len(reached)
    det, gt, iou = np.tile(det, 2), np.tile(gt, 2), np.tile(iou, 2)
    order = np.lexsort((-gt, -iou, second, det))
    order = order[bits[order] != 0]

    rank, choice = found.rank[det[order]], rank_in_runs(det[order])
    by_step = np.lexsort((choice, rank))
    order, rank, choice = order[by_step], rank[by_step], choice[by_step]
    cuts = np.flatnonzero((np.diff(rank) != 0) | (np.diff(choice) != 0)) + 1
    for rows in np.split(order, cuts):
        yield det[rows], gt[rows], bits[rows], second[rows]


def rank_in_runs(runs: Ints) -> Ints:
    """Rank each element within its run of equal neighbours; int64 [n] to int64 [n]."""
    index = np.arange(len(runs))
    first = np.flatnonzero(np.concatenate([[True], runs[1:] != runs[:-1]])[: len(runs)])
    return index - np.repeat(first, np.diff(first, append=len(runs)))


def expand(first: Ints, count: Ints) -> Ints:
    """Return the ranges first, first + 1, .. of `count` numbers each, concatenated, int64 [sum]."""
    ends = np.cumsum(count)
    return np.arange(count.sum()) + np.repeat(first - ends + count, count)


def _out_of_range(area: Floats) -> Ints:
    bits = np.zeros(len(area), np.int64)
    for a, (low, high) in enumerate(AREAS.values()):
        bits |= np.where((area < low) | (area > high), _ROW << bit(a, 0), 0)
    return bits


def overlapping(
    found: Ints, wanted: Ints, measure: PairIou, least: float
) -> tuple[Ints, Ints, Floats]:
    """Return the pairs of equal groups whose IoU is `least` or more: detection, box and IoU.

    Args:
        found: int64 [n], group of each detection.
        wanted: int64 [m], group of each box, ascending.
        measure: gives the IoU of pairs.
        least: lowest IoU.
    """
    first = np.searchsorted(wanted, found, side="left")
    count = np.searchsorted(wanted, found, side="right") - first
    ends = np.cumsum(count)
    cuts = np.searchsorted(ends, np.arange(_PAIRS, count.sum(), _PAIRS))
    parts = []
    for start, stop in pairwise([0, *cuts.tolist(), len(first)]):
        det = np.repeat(np.arange(start, stop), count[start:stop])
        gt = expand(first[start:stop], count[start:stop])
        iou = measure(det, gt)
        near = iou >= least
        parts.append((det[near], gt[near], iou[near]))
    det, gt, iou = (np.concatenate(column) for column in zip(*parts, strict=True))
    return det, gt, iou
