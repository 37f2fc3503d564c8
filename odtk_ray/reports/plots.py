"""The lines of plots, as the paths of an SVG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.evaluation.analysis import Curves

Floats = NDArray[np.float64]

# Of the plotting area, in the units of its SVG; the template draws the axes around it.
WIDTH, HEIGHT = 300, 200


@dataclass(frozen=True)
class Lines:
    """The lines of one detector, of all classes together, as the paths of SVGs.

    Attributes:
        precision: over thresholds.
        recall: over thresholds.
        f1: over thresholds.
        curve: precision over recall, the mean of the classes.
        best: position of the threshold with the best F1.
    """

    precision: str
    recall: str
    f1: str
    curve: str
    best: int

    @classmethod
    def of(cls, curves: Curves) -> Lines:
        """Sum up the classes, and draw."""
        right, wrong = curves.right.sum(axis=0), curves.wrong.sum(axis=0)
        positives = np.full(len(right), curves.positives.sum())
        f1 = _share(2 * right, right + wrong + positives)
        return cls(
            line(_share(right, right + wrong)),
            line(_share(right, positives)),
            line(f1),
            line(mean_precision(curves)),
            int(np.argmax(np.nan_to_num(f1))),
        )


def mean_precision(curves: Curves) -> Floats:
    """Return the mean over the classes of the interpolated precision, float64 [101]."""
    known = curves.precision[curves.positives > 0]
    return known.mean(axis=0) if len(known) else np.zeros(curves.precision.shape[1])


def line(y: Floats) -> str:
    """Draw a line from left to right, float64 [n], 0 at the bottom to 1 at the top, or NaN."""
    points = [
        f"{x * WIDTH:.1f},{(1 - value) * HEIGHT:.1f}"
        for x, value in zip(np.linspace(0, 1, len(y)).tolist(), y.tolist(), strict=True)
        if np.isfinite(value)
    ]
    return f"M{'L'.join(points)}" if points else ""


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    share = np.full(len(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
