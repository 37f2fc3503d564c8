"""What every engine is: a batch of equally padded pictures in, detections out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from odtk_ray.records import Detections


class Engine(Protocol):
    """Holds a network on one device; called from one thread only.

    Attributes:
        key: what computes, such as `pytorch-cpu-avx2-fp32`: results of equal keys have equal bytes.
    """

    key: str

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        """Detect in pictures that share one padded network size.

        Args:
            pictures: each uint8 [h, w, 3], RGB, already resized; h and w at most `shape`.
            shape: (height, width) of the network input in pixels.

        Returns:
            detections for each picture, boxes_net.
        """


# Makes an engine inside a worker; it is pickled, so it holds settings and no tensors.
EngineFactory = Callable[[], Engine]
