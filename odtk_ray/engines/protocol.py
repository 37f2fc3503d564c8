"""What every engine is: a batch of equally padded pictures in, detections out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from odtk_ray.errors import ImageError
from odtk_ray.records import Detections

if TYPE_CHECKING:
    from odtk_ray.images.gpu_loader import Source


class Engine(Protocol):
    """Holds a network on one device and takes decoded pictures; called from one thread only.

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


@dataclass(frozen=True)
class Outcome:
    """What a launch made of one picture.

    Attributes:
        found: detections, boxes_net, or why there are none.
        by_pillow: whether the CPU decoded a picture of a run whose decoder is the GPU's.
    """

    found: Detections | ImageError
    by_pillow: bool = False


@runtime_checkable
class StreamingEngine(Protocol):
    """An engine that takes files, and that is given its next launch while it works on one.

    Attributes:
        key: as `Engine.key`.
    """

    key: str

    def read(self, data: bytes | NDArray[np.uint8]) -> Source:
        """Look at an image file, and decode it unless the GPU will; any thread may call this.

        Args:
            data: the file, or decoded pixels, uint8 [h, w, 3], RGB.

        Raises:
            ImageError: the file cannot be used.
        """

    def launch(
        self, pictures: Sequence[Source], shape: tuple[int, int]
    ) -> Callable[[], list[Outcome]]:
        """Start detecting in pictures that share one padded network size; one thread only.

        Args:
            pictures: at most a launch batch of them.
            shape: (height, width) of the network input in pixels.

        Returns:
            waits for the outcomes, one for each picture; called once, from any thread.
        """


# Makes an engine inside a worker; it is pickled, so it holds settings and no tensors. Without
# arguments, or, where each worker has its own model, with the path of that.
EngineFactory = Callable[..., Any]
