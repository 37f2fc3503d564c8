"""Measures how fast a written model is, with the pictures of its check."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from odtk_ray.exports.check.compare_detections import PictureDetector

_WARM_UP = 3  # launches
_LEAST_TIMED, _MOST_TIMED = 3, 1000
_SECONDS = 1.0  # after which no launch begins


def images_per_second(
    detector: PictureDetector,
    pictures: Sequence[NDArray[np.uint8]],
    shape: tuple[int, int],
    batch: int,
) -> float:
    """Time launches of decoded pictures, from their upload to detections; the median counts.

    Args:
        detector: of the model.
        pictures: uint8 [h, w, 3], RGB, of at most its size; repeated to fill a launch.
        shape: its height and width in pixels.
        batch: pictures of a launch.
    """
    launch = [pictures[i % len(pictures)] for i in range(batch)]
    for _ in range(_WARM_UP):
        detector.detect(launch, shape)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < _LEAST_TIMED or (len(times) < _MOST_TIMED and time.perf_counter() < end):
        before = time.perf_counter()
        detector.detect(launch, shape)
        times.append(time.perf_counter() - before)
    return batch / statistics.median(times)
