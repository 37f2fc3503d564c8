"""Chooses the images that a report shows: the worst ones, and some of the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MOST_IMAGES = 200
_MOST_BEST = 24


def choose_images(counts: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Choose the images with the most errors, and the best ones.

    Args:
        counts: int32 [images, 7], in the order of `status.KINDS`.

    Returns:
        the images with errors, most errors first; and images in which something is found, by F1,
        of equal ones those with more right detections first. No image is in both.
    """
    right = counts[:, 0].astype(np.int64)
    errors = counts[:, 1:].sum(axis=1, dtype=np.int64)
    f1 = 2 * right / np.maximum(2 * right + errors, 1)
    hits = int(np.count_nonzero(right))
    order = np.lexsort((-right, -f1))
    best = order[: min(_MOST_BEST, -(-hits // 4))]
    bad = np.lexsort((f1, -errors))
    bad = bad[(errors[bad] > 0) & ~np.isin(bad, best)]
    return bad[: MOST_IMAGES - len(best)], best
