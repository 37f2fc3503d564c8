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
class Sweep:
    """Precision, recall and F1 of all classes together over thresholds.

    Attributes:
        precision: float64 [s]; NaN where no detection counts.
        recall: float64 [s]; NaN without boxes to find.
        f1: float64 [s]; NaN where both are undefined.
    """

    precision: Floats
    recall: Floats
    f1: Floats

    @classmethod
    def of(cls, curves: Curves) -> Sweep:
        """Sum up the classes."""
        right, wrong = curves.right.sum(axis=0), curves.wrong.sum(axis=0)
        positives = int(curves.positives.sum())
        return cls(
            _share(right, right + wrong),
            _share(right, np.full(len(right), positives)),
            _share(2 * right, right + wrong + positives),
        )

    def best(self) -> int:
        """Return the position of the threshold with the best F1."""
        return int(np.argmax(np.nan_to_num(self.f1)))


def mean_precision(curves: Curves) -> Floats:
    """Return the mean over the classes of the interpolated precision, float64 [101]."""
    known = curves.precision[curves.positives > 0]
    return known.mean(axis=0) if len(known) else np.zeros(curves.precision.shape[1])


def line(x: Floats, y: Floats) -> str:
    """Draw a line through the points whose y is a number.

    Args:
        x: float64 [n], from 0 to 1.
        y: float64 [n], from 0 at the bottom to 1 at the top.
    """
    points = [
        f"{a * WIDTH:.1f},{(1 - b) * HEIGHT:.1f}"
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
        if np.isfinite(b)
    ]
    return f"M{'L'.join(points)}" if points else ""


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    share = np.full(len(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
