"""Chooses the threshold of a class from its detections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odtk_ray.evaluation.analysis import Floats, Goal, OperatingPoint


def choose_point(
    score: Floats, right: NDArray[np.bool_], positives: int, goal: Goal
) -> OperatingPoint | None:
    """Choose the threshold of a class.

    Args:
        score: float64 [n], of detections that are right or wrong, descending.
        right: bool [n], which are right.
        positives: boxes to find.
        goal: what to choose for. Of equal F1 the fewest detections are taken; for a precision the
            lowest threshold that has it, for a recall the highest.

    Returns:
        None without boxes to find, without right detections, or if no threshold reaches the goal.
    """
    if not positives or not right.any():
        return None
    cuts = np.flatnonzero(np.diff(score, append=-np.inf))  # the last of each score
    found = np.cumsum(right, dtype=np.int64)[cuts]
    reached = _reached(found, cuts + 1, positives, goal)
    if reached is None:
        return None
    last = int(cuts[reached])
    below = score[last + 1] if last + 1 < len(score) else -np.inf
    count = int(found[reached])
    return OperatingPoint(_between(float(score[last]), below), count, last + 1 - count, positives)


def _reached(
    found: NDArray[np.int64], counted: NDArray[np.int64], positives: int, goal: Goal
) -> int | None:
    """Return the cut that meets a goal best."""
    if goal.figure == "F1":
        return int(np.argmax(2 * found / (counted + positives)))
    if goal.figure == "precision":
        enough = np.flatnonzero((found >= goal.least * counted) & (found > 0))
        return int(enough[-1]) if len(enough) else None
    enough = np.flatnonzero(found >= goal.least * positives)
    return int(enough[0]) if len(enough) else None


def _between(score: float, below: float) -> float:
    """Return a threshold under `score` that float32 can tell from it, and not under `below`."""
    closest = float(np.nextafter(np.float32(score), np.float32(-np.inf)))
    closest = closest if closest < score else float(np.nextafter(score, -np.inf))
    middle = (score + below) / 2
    return max(min(closest, middle), below) if np.isfinite(below) else closest
