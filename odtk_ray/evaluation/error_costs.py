"""Computes what each kind of error costs: AP50 with it corrected, less AP50, as TIDE does.

A class or location error that is corrected finds its box, if it is the best of all that would, and
is dropped otherwise. Errors of the other kinds are dropped, and missed boxes need not be found.
The mean is that of TIDE's own program: a class without boxes to find counts as 0 if it has
detections, and not at all if it has none left. As there, what was wrong comes first of equal scores
once something is corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.evaluation.average_precision import interpolated_precision
from odtk_ray.evaluation.status import ERRORS, Status

# Not COCO's: the last bits of some differ.
_RECALLS = np.arange(101) / 100

Bools = NDArray[np.bool_]

# The statuses of `ERRORS` that detections have: all but the last, missed boxes.
WRONG = (Status.CLASS, Status.LOCATION, Status.BOTH, Status.DUPLICATE, Status.BACKGROUND)


@dataclass(frozen=True)
class ClassErrors:
    """The detections of a class that count, best first, and those of others that would be its.

    Attributes:
        score: float64 [n], descending.
        status: uint8 [n], of `Status`.
        fixes: bool [n], whether a box is found when the error is corrected.
        foreign: bool [n], of another class: right if class errors are corrected, else not there.
        positives: boxes to find.
        missed: those of them that no correction finds.
    """

    score: NDArray[np.float64]
    status: NDArray[np.uint8]
    fixes: Bools
    foreign: Bools
    positives: int
    missed: int


def error_costs(classes: Sequence[ClassErrors]) -> tuple[float, list[float]]:
    """Compute by how much AP50 rises when each kind of error is corrected, and nothing else.

    Returns:
        AP50 as it is, and a figure of at least 0 for each of `ERRORS`.
    """
    before = _mean([_corrected(one, None) for one in classes])
    after = [_mean([_corrected(one, kind) for one in classes]) for kind in (*WRONG, ERRORS[-1])]
    return before, [max(figure - before, 0.0) for figure in after]


def _corrected(one: ClassErrors, kind: Status | str | None) -> float | None:
    """Compute the AP50 of a class with one kind of error corrected; None if it has nothing left."""
    right = ~one.foreign & (one.status == Status.RIGHT)
    wrong = ~one.foreign & (one.status != Status.RIGHT)
    positives = one.positives
    if kind is Status.CLASS:
        right, wrong = right | one.foreign, wrong & (one.status != kind)
    elif kind is Status.LOCATION:
        corrected = wrong & (one.status == kind)
        right, wrong = right | (corrected & one.fixes), wrong & ~corrected
    elif isinstance(kind, Status):
        wrong = wrong & (one.status != kind)
    elif kind is not None:
        positives -= one.missed
    if not positives:
        return 0.0 if wrong.any() else None
    if kind is not None:
        was_right = ~one.foreign & (one.status == Status.RIGHT)
        order = np.lexsort((was_right, -one.score))
        right, wrong = right[order], wrong[order]
    found = np.flatnonzero(right)
    wrong_before = np.cumsum(wrong)[found]
    return float(interpolated_precision(found, wrong_before, positives, _RECALLS).mean())


def _mean(values: Sequence[float | None]) -> float:
    figures = [value for value in values if value is not None]
    return float(np.mean(figures)) if figures else 0.0
