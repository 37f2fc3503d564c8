"""COCO's interpolated precision: what all figures of average precision are means of."""

from __future__ import annotations

import numpy as np

from odtk_ray.evaluation.matching import Floats, Ints

RECALLS = np.linspace(0.0, 1.0, 101)


def interpolated_precision(
    found: Ints, wrong: Ints, positives: int, recalls: Floats = RECALLS
) -> Floats:
    """Interpolate precision at 101 recalls, as COCOeval.accumulate does.

    Args:
        found: int64 [n], places of the right detections, best first.
        wrong: int64 [n], number of wrong detections before each of them.
        positives: boxes to find, at least 1.
        recalls: float64 [101].

    Returns:
        float64 [101], the greatest precision at each recall or more.
    """
    right = np.arange(1, len(found) + 1)
    precision = right / (wrong + right + np.spacing(1))
    # Precision falls between right detections, so the best from any place on is at one of them.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(right / positives, recalls, side="left")
    at_recalls: Floats = np.append(envelope, 0.0)[first]
    return at_recalls


def average_precision(found: Ints, wrong: Ints, positives: int) -> float:
    """Average the precision at 101 recalls; see `interpolated_precision`."""
    return float(interpolated_precision(found, wrong, positives).mean())
