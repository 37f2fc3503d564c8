"""The interface of engines: they read files, and turn launches of pictures into detections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import Decoded, Picture, load_picture
from odtk_ray.records import Detections
from odtk_ray.settings import Preprocessing, RunSettings

if TYPE_CHECKING:
    from typing_extensions import Self

# A file, or what it holds.
Content = bytes | Decoded

P = TypeVar("P")  # what `read` returns: pixels, or a file that the GPU will decode


@dataclass(frozen=True)
class Outcome:
    """The result of a launch for one picture.

    Attributes:
        found: detections, boxes_net, or why there are none.
        by_pillow: whether the CPU decoded a picture of a run whose decoder is the GPU's.
    """

    found: Detections | ImageError
    by_pillow: bool = False


class Engine(Protocol[P]):
    """A network on one device; it accepts the next launch while it computes one.

    One thread makes, uses and closes it; `read` and the outcomes may be called from any.

    Attributes:
        key: names what computes, such as `pytorch-cpu-avx2-fp32`; equal keys give equal bytes.
    """

    key: str

    def read(self, data: Content) -> P:
        """Read an image file, and decode it unless the GPU will; any thread may call this.

        Args:
            data: the file, or what it holds.

        Raises:
            ImageError: the file cannot be used.
        """

    def launch(self, pictures: Sequence[P], shape: tuple[int, int]) -> Callable[[], list[Outcome]]:
        """Start detecting in pictures that share one padded network size.

        Args:
            pictures: at most a launch batch of them, as `read` gave them.
            shape: (height, width) of the network input in pixels.

        Returns:
            waits for the outcomes, one for each picture; called once, from any thread.
        """

    def prepare(self, shapes: Sequence[tuple[int, int]]) -> None:
        """Make launches of these network inputs ready, and forget others; what is ready stays.

        Args:
            shapes: (height, width) of the planned network inputs, largest first.
        """

    def close(self) -> None:
        """Free the device; every launch must have been waited for."""

    def __enter__(self) -> Self:
        """Return the engine."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the engine."""


# Creates an engine in a worker, from the local path of a model and the run's settings. It is
# pickled, so it holds no tensors.
EngineFactory = Callable[[str, RunSettings], Engine[Any]]


class Closing:
    """Makes an engine a context manager that closes it, and that has nothing to prepare."""

    def prepare(self, shapes: Sequence[tuple[int, int]]) -> None:
        """See `Engine.prepare`; launches of any shape are ready."""

    def close(self) -> None:
        """Free the device."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class HostEngine(Closing, ABC):
    """An engine whose pictures the CPU decodes and resizes, and whose launches are synchronous.

    Attributes:
        key: as `Engine.key`.
        prep: how pictures become network input.
    """

    key: str
    prep: Preprocessing = Preprocessing()

    @abstractmethod
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

    def read(self, data: Content) -> Picture:
        """See `Engine.read`."""
        return load_picture(data, self.prep)

    def launch(
        self, pictures: Sequence[Picture], shape: tuple[int, int]
    ) -> Callable[[], list[Outcome]]:
        """See `Engine.launch`."""
        found = self.detect([picture.pixels for picture in pictures], shape)
        return lambda: [Outcome(detections) for detections in found]
