"""Sums up what became of detections: thresholds, curves, confusion, errors, sizes, images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ground_truth import Category, GroundTruth
from odtk_ray.evaluation.analysis import (
    Analysis,
    Counts,
    Curves,
    DetectionFacts,
    ErrorCost,
    Goal,
    OperatingPoint,
    SizeRow,
    TruthFacts,
)
from odtk_ray.evaluation.average_precision import RECALLS, interpolated_precision
from odtk_ray.evaluation.confusion import confusion_matrix, pair_up
from odtk_ray.evaluation.error_costs import ClassErrors, error_costs
from odtk_ray.evaluation.matching import AREAS, Floats, Ints
from odtk_ray.evaluation.metrics import Metrics
from odtk_ray.evaluation.operating_points import choose_point
from odtk_ray.evaluation.status import ERRORS, KINDS, MISSED, Status, TruthStatus

# What is kept of a detection.
FACTS = np.dtype(
    [
        ("score", "f8"),
        ("image", "i4"),
        ("category", "i4"),
        ("box", "i4"),
        ("iou", "f4"),
        ("area", "f4"),
        ("status", "u1"),
        ("fixes", "?"),
    ]
)
_SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Collected:
    """What an analysis has collected.

    Attributes:
        facts: [n] of `FACTS`.
        pairs: detection int64 [p], row of the truth int64 [p], IoU float64 [p]: wrong detections on
            boxes of another class.
        truth: the boxes to find.
        seen: bool [records], the images that were added.
        image_rank: int64 [records], position of each image when the ids are sorted.
        categories: the classes.
    """

    facts: NDArray[np.void]
    pairs: tuple[Ints, Ints, Floats]
    truth: GroundTruth
    seen: NDArray[np.bool_]
    image_rank: Ints
    categories: tuple[Category, ...]


@dataclass(frozen=True)
class _Classes:
    """What is computed class by class."""

    points: tuple[OperatingPoint | None, ...]
    curves: Curves
    errors: list[ClassErrors]


def summarise(found: Collected, metrics: Metrics, exact: Metrics | None, goal: Goal) -> Analysis:
    """Sum up an analysis; see `Analysis`."""
    facts, truth = found.facts, _truth_facts(found)
    classes = _by_class(found, truth, goal)
    limits = np.array([np.inf if p is None else p.threshold for p in classes.points])
    counted = (facts["status"] <= Status.BACKGROUND) & (
        facts["score"] > np.append(limits, np.inf)[facts["category"]]
    )
    kinds, images, sizes = _kinds(found, truth, counted)
    at_thresholds = np.bincount(kinds, minlength=len(KINDS))
    base, costs = error_costs(classes.errors)
    totals = np.bincount(facts["status"], minlength=len(Status))[1 : MISSED + 1]
    totals[-1] = np.count_nonzero(truth.status == TruthStatus.MISSED)
    per_image = np.bincount(images * len(KINDS) + kinds, minlength=len(found.seen) * len(KINDS))
    return Analysis(
        categories=found.categories,
        metrics=metrics,
        exact=exact,
        goal=goal,
        points=classes.points,
        curves=classes.curves,
        confusion=_confusion(found, truth, counted),
        errors=tuple(
            ErrorCost(kind, int(totals[i]), int(at_thresholds[i + 1]), costs[i])
            for i, kind in enumerate(ERRORS)
        ),
        error_base=base,
        sizes=_size_rows(found, truth, exact or metrics, sizes * len(KINDS) + kinds),
        detections=DetectionFacts(
            *(np.ascontiguousarray(facts[name]) for name in ("status", "box", "iou"))
        ),
        truth=truth,
        images=per_image.reshape(-1, len(KINDS)).astype(np.int32),
    )


def _truth_facts(found: Collected) -> TruthFacts:
    facts, truth = found.facts, found.truth
    status = np.full(len(truth), TruthStatus.MISSED, np.uint8)
    detection = np.full(len(truth), -1)
    status[facts["box"][facts["fixes"]]] = TruthStatus.COVERED
    right = np.flatnonzero(facts["status"] == Status.RIGHT)
    detection[facts["box"][right]] = right
    status[detection >= 0] = TruthStatus.FOUND
    status[truth.crowd] = TruthStatus.IGNORED
    status[~found.seen[truth.image]] = TruthStatus.NOT_EVALUATED
    return TruthFacts(status, detection)


def _wanted(truth: TruthFacts) -> NDArray[np.bool_]:
    """Return which boxes are to be found."""
    wanted: NDArray[np.bool_] = truth.status <= TruthStatus.MISSED
    return wanted


def _by_class(found: Collected, truth: TruthFacts, goal: Goal) -> _Classes:
    """Go through the classes with their detections sorted; each pass needs little memory."""
    facts, n_classes = found.facts, len(found.categories)
    category = found.truth.category
    positives = np.bincount(category[_wanted(truth)], minlength=n_classes)
    missed = np.bincount(category[truth.status == TruthStatus.MISSED], minlength=n_classes)
    counted = np.flatnonzero(facts["status"] <= Status.BACKGROUND)
    foreign = np.flatnonzero(facts["fixes"] & (facts["status"] == Status.CLASS))
    rows = np.concatenate([counted, foreign])
    owner = np.concatenate([facts["category"][counted], category[facts["box"][foreign]]])
    is_foreign = np.arange(len(rows)) >= len(counted)
    order = np.argsort(owner, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n_classes))])
    grid = _grid(facts["score"])
    points, errors = [], []
    right_at, wrong_at = np.zeros((2, n_classes, len(grid)), np.int64)
    precision = np.zeros((n_classes, len(RECALLS)))
    for c in range(n_classes):
        own = order[ends[c] : ends[c + 1]]
        score, image = (facts[name][rows[own]] for name in ("score", "image"))
        best = np.lexsort((found.image_rank[image], -score))
        own, score = own[best], score[best]
        status, fixes = facts["status"][rows[own]], facts["fixes"][rows[own]]
        errors.append(
            ClassErrors(score, status, fixes, is_foreign[own], int(positives[c]), int(missed[c]))
        )
        here = ~is_foreign[own]
        scores, right = score[here], status[here] == Status.RIGHT
        points.append(choose_point(scores, right, int(positives[c]), goal))
        right_at[c], wrong_at[c] = (_above(scores[part], grid) for part in (right, ~right))
        if positives[c]:
            places = np.flatnonzero(right)
            precision[c] = interpolated_precision(
                places, np.cumsum(~right)[places], int(positives[c])
            )
    curves = Curves(grid, right_at, wrong_at, positives, precision)
    return _Classes(tuple(points), curves, errors)


def _grid(scores: Floats) -> Floats:
    low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 1.0)
    return np.linspace(min(low, 0.0), max(high, 1.0), 101)


def _above(descending: Floats, thresholds: Floats) -> Ints:
    """Count the scores greater than each threshold."""
    return np.searchsorted(-descending, -thresholds, side="left")


def _kinds(
    found: Collected, truth: TruthFacts, counted: NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints]:
    """Return kind, image and size of everything that counts at the thresholds, missed boxes too."""
    facts, boxes = found.facts, found.truth
    rows = np.flatnonzero(counted)
    status = facts["status"][rows]
    area = facts["area"][rows].astype(np.float64)
    right = status == Status.RIGHT
    area[right] = boxes.area[facts["box"][rows[right]]]
    missed = np.flatnonzero(_wanted(truth) & ~_found_at(truth, counted))
    kinds = np.concatenate([status, np.full(len(missed), MISSED)]).astype(np.int64)
    images = np.concatenate([facts["image"][rows], boxes.image[missed]]).astype(np.int64)
    return kinds, images, _size(np.concatenate([area, boxes.area[missed]]))


def _found_at(truth: TruthFacts, counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which boxes are found by detections that count."""
    found: NDArray[np.bool_] = np.append(counted, False)[truth.detection]
    return found


def _size(area: Floats) -> Ints:
    """Return the place of each area in `_SIZES`."""
    limits = [AREAS[name][1] for name in _SIZES[:-1]]
    return np.searchsorted(limits, area, side="left").astype(np.int64)


def _size_rows(
    found: Collected, truth: TruthFacts, metrics: Metrics, cells: Ints
) -> tuple[SizeRow, ...]:
    counts = np.bincount(cells, minlength=len(_SIZES) * len(KINDS)).reshape(-1, len(KINDS))
    boxes = np.bincount(_size(found.truth.area[_wanted(truth)]), minlength=len(_SIZES))
    stats = metrics.stats
    return tuple(
        SizeRow(name, int(boxes[i]), stats[f"AP{name[0]}"], stats[f"AR{name[0]}"], counts[i])
        for i, name in enumerate(_SIZES)
    )


def _confusion(found: Collected, truth: TruthFacts, counted: NDArray[np.bool_]) -> Counts:
    """Match what is wrong at the thresholds with boxes that are not found there."""
    facts = found.facts
    det, gt, iou = found.pairs
    taken = ~_wanted(truth) | _found_at(truth, counted)
    here = counted[det]
    pairs = (det[here], gt[here], iou[here])
    box = pair_up(facts["score"], facts["image"], pairs, taken)
    right = facts["status"] == Status.RIGHT
    box[right] = facts["box"][right]
    wanted = np.flatnonzero(_wanted(truth))
    place = np.full(len(found.truth) + 1, -1)
    place[wanted] = np.arange(len(wanted))
    return confusion_matrix(
        place[box[counted]],
        facts["category"][counted].astype(np.int64),
        found.truth.category[wanted].astype(np.int64),
        len(found.categories),
    )
