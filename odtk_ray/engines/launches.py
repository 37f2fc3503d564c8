"""Wraps the computation of every launch on a GPU: uploads pictures, downloads detections."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import cuda_ops
from odtk_ray.engines.protocol import Outcome
from odtk_ray.errors import ImageError
from odtk_ray.images.gpu_loader import GpuLoader, PendingPicture
from odtk_ray.records import Detections


class StreamEvent(Protocol):
    """A point in a stream that a thread can wait for."""

    def synchronize(self) -> None:
        """Wait for it; any thread may call this."""


class GpuDetections(Protocol):
    """The detections of a launch in the GPU's memory; `cuda_ops.Postprocess` has them."""

    scores: cuda_ops.Buffer
    boxes: cuda_ops.Buffer
    classes: cuda_ops.Buffer


class PinnedDetections:
    """Page-locked memory for the detections of one launch, with 4 or 6 numbers per box."""

    def __init__(
        self, device: cuda_ops.Device, batch: int, detections: int, box_values: int
    ) -> None:
        self._device = device
        self.scores: NDArray[np.float32] = device.pinned((batch, detections), np.float32)
        self.boxes: NDArray[np.float32] = device.pinned((batch, detections, box_values), np.float32)
        self.classes: NDArray[np.int32] = device.pinned((batch, detections), np.int32)

    def download(self, found: GpuDetections) -> None:
        """Queue the copy of the detections to this memory."""
        self._device.download(self.scores, found.scores.ptr)
        self._device.download(self.boxes, found.boxes.ptr)
        self._device.download(self.classes, found.classes.ptr)

    def row(self, slot: int) -> Detections:
        """Return a copy of one picture's detections; unused slots have score 0."""
        used = self.scores[slot] > 0
        return Detections(self.scores[slot][used], self.boxes[slot][used], self.classes[slot][used])


class Launches:
    """Starts launches and returns their outcomes; the next may start before the last is done.

    Args:
        device: of the engine.
        loader: loads pictures onto the device.
        batch: pictures in one launch.
        detections: most detections per picture.
        box_values: numbers of a box: 4, or 6 of a rotated one.
    """

    def __init__(
        self,
        device: cuda_ops.Device,
        loader: GpuLoader,
        *,
        batch: int,
        detections: int,
        box_values: int = 4,
    ) -> None:
        self._device, self._loader = device, loader
        self._size = batch, detections, box_values
        self._free: queue.SimpleQueue[PinnedDetections] = queue.SimpleQueue()

    def start(
        self,
        pictures: Sequence[PendingPicture],
        compute: Callable[[list[cuda_ops.GpuPicture], PinnedDetections], StreamEvent],
    ) -> Callable[[], list[Outcome]]:
        """Load pictures and queue a launch of those that could be loaded.

        Args:
            pictures: at most a launch batch of them.
            compute: queues everything up to the copy of the detections; returns the event after it.

        Returns:
            waits for the outcomes, one for each picture; called once, from any thread.
        """
        batch = self._loader.load(pictures)
        good = [p for p in batch.pictures if not isinstance(p, ImageError)]
        results = (
            PinnedDetections(self._device, *self._size) if self._free.empty() else self._free.get()
        )
        done = compute(good, results)

        def finish() -> list[Outcome]:
            done.synchronize()
            rows = iter(range(len(good)))
            found = [p if isinstance(p, ImageError) else results.row(next(rows))
                     for p in batch.pictures]  # fmt: skip
            outcomes = [Outcome(f, p) for f, p in zip(found, batch.by_pillow, strict=True)]
            self._free.put(results)
            self._loader.give_back(batch)
            return outcomes

        return finish

    def close(self) -> None:
        """Free the page-locked memory, while the device is still there."""
        while not self._free.empty():
            self._free.get()
