"""Histograms of magnitudes that can be added exactly, and the ranges derived from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["entropy", "percentile", "max", "mse"]

BINS = 2048  # as TensorRT's entropy calibrator has
MAGNITUDES = 128  # magnitudes that INT8 codes can hold: 0 to 127
PERCENTILE = 0.9999  # of the magnitudes; what lies above is clipped

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Histogram:
    """Counts of the non-zero magnitudes of a tensor.

    The range is a power of two, so that a wider histogram's bins are pairs of this one's: sums of
    histograms are what one histogram of all values would be, in any order.

    Attributes:
        exponent: the range is from 0 up to, and without, 2^exponent.
        counts: int64 [BINS].
        largest: the greatest magnitude.
    """

    exponent: int
    counts: Counts
    largest: float

    @classmethod
    def empty(cls) -> Histogram:
        """Return the histogram of no values, or of zeros."""
        return cls(-126, np.zeros(BINS, np.int64), 0.0)

    def widened(self, exponent: int) -> Histogram:
        """Return the same counts over a larger range, up to 2^exponent."""
        counts = self.counts
        for _ in range(min(exponent - self.exponent, BINS.bit_length())):
            counts = np.concatenate([counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, int)])
        return Histogram(exponent, counts, self.largest)

    def __add__(self, other: Histogram) -> Histogram:
        exponent = max(self.exponent, other.exponent)
        one, two = self.widened(exponent), other.widened(exponent)
        largest = max(self.largest, other.largest)
        return Histogram(exponent, one.counts + two.counts, largest)

    def amax(self, method: Method) -> float:
        """Compute the magnitude of the largest INT8 code; 0 if there are no values."""
        if not self.counts.any():
            return 0.0
        chosen = _METHODS[method](self.counts)
        return self.largest if chosen is None else chosen * math.ldexp(1.0, self.exponent) / BINS


def _maximum(counts: Counts) -> float | None:
    return None


def _percentile(counts: Counts) -> float | None:
    cumulated = np.cumsum(counts)
    place = int(np.searchsorted(cumulated, PERCENTILE * cumulated[-1]))
    return None if place == np.flatnonzero(counts)[-1] else place + 1.0


def _mse(counts: Counts) -> float | None:
    """Minimise the mean squared error of rounding and clipping, over ranges that end between bins.

    They begin at an eighth of the greatest magnitude.
    """
    last = int(np.flatnonzero(counts)[-1]) + 1
    values = np.arange(last) + 0.5
    ends = np.unique(np.linspace(max(last / 8, 1), last, 256))
    steps = ends[:, None] / (MAGNITUDES - 1)
    rounded = np.minimum(np.rint(values / steps), MAGNITUDES - 1) * steps
    errors = ((rounded - values) ** 2) @ counts[:last].astype(np.float64)
    return float(ends[np.argmin(errors)])


def _entropy(counts: Counts) -> float | None:
    """Minimise the Kullback-Leibler divergence between clipped values and their 128 levels.

    Source: S. Migacz, 8-bit Inference with TensorRT, GTC 2017. For each number of bins from 128 on,
    P is the histogram up to there with the rest added to its last bin, and Q has the values up to
    there, spread evenly over the filled bins of each of 128 levels.
    """
    last = int(np.flatnonzero(counts)[-1]) + 1
    best, chosen = math.inf, None
    for end in range(MAGNITUDES, last + 1):
        divergence = _divergence(counts[:end].astype(np.float64), float(counts[end:].sum()))
        if divergence < best:
            best, chosen = divergence, float(end)
    return None if chosen == last else chosen


def _divergence(inside: NDArray[np.float64], outside: float) -> float:
    level = np.arange(len(inside)) * MAGNITUDES // len(inside)
    filled = inside > 0
    sums = np.bincount(level, inside, MAGNITUDES)
    slots = np.bincount(level, filled, MAGNITUDES)
    spread = np.where(filled, (sums / np.maximum(slots, 1))[level], 0)
    reference = inside.copy()
    reference[-1] += outside
    if spread[-1] == 0 < reference[-1]:
        return math.inf  # clipped values, and nothing that they are clipped to
    p, q = reference / reference.sum(), spread / spread.sum()
    used = p > 0
    return float((p[used] * np.log(p[used] / q[used])).sum())


_METHODS: dict[Method, Callable[[Counts], float | None]] = {
    "entropy": _entropy,
    "percentile": _percentile,
    "max": _maximum,
    "mse": _mse,
}
