"""All detections of one detector, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DetectionTable:
    """Detections, sorted by image; in the order of their file within one image.

    Attributes:
        image: int64 [n], index of the image; the images are in the order of their ids.
        category: int64 [n], position of the category in the annotation file.
        score: float64 [n].
        bbox: float64 [n, 4], xywh, pixels of the original image; [n, 5] with theta where boxes are
            rotated.
    """

    image: NDArray[np.int64]
    category: NDArray[np.int64]
    score: NDArray[np.float64]
    bbox: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image)
