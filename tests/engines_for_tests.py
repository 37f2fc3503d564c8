"""Engines without a network: what they find depends on the picture's pixels alone.

A worker makes them from the path of its model and the run's settings, which come last.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from odtk_ray.engines.protocol import HostEngine
from odtk_ray.records import Detections


class PixelEngine(HostEngine):
    """One detection a picture, its score and box taken from the pixels."""

    key = "pixels"

    def __init__(self, path=None, settings=None):
        if settings is not None:
            self.prep = settings.preprocessing

    def detect(self, pictures, shape):
        return [self._one(picture) for picture in pictures]

    def _one(self, picture):
        mean = np.float32(picture.mean() / 255)
        height, width = picture.shape[:2]
        return Detections(
            np.array([max(mean, 0.01)], np.float32),
            np.array([[0, 0, width / 2, height / 2]], np.float32),
            np.array([int(picture.sum()) % 3], np.int32),
        )


class PoisonedEngine(PixelEngine):
    """Kills its process when a picture's mean is that of `poison` (all pixels of one value)."""

    def __init__(self, value, *made):
        super().__init__(*made)
        self._value = value

    def detect(self, pictures, shape):
        if any((picture == self._value).all() for picture in pictures):
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(60)
        return super().detect(pictures, shape)


class CrowdedEngine(PoisonedEngine):
    """Dies of two such pictures in one launch, as a worker short of memory would, not of one."""

    def detect(self, pictures, shape):
        if sum((picture == self._value).all() for picture in pictures) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return PixelEngine.detect(self, pictures, shape)


class DoomedEngine(PixelEngine):
    """Loads, and dies of everything."""

    def detect(self, pictures, shape):
        os.kill(os.getpid(), signal.SIGKILL)


class DyingOnceEngine(PixelEngine):
    """Dies of the first pictures that anybody detects; it leaves a file behind."""

    def __init__(self, marker, *made):
        super().__init__(*made)
        self._marker = marker

    def detect(self, pictures, shape):
        if not os.path.exists(self._marker):
            open(self._marker, "x", encoding="utf-8").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(pictures, shape)


class SmallLaunchEngine(PixelEngine):
    """Takes launches of so many pictures; larger ones end as `happens` says."""

    def __init__(self, most, happens, path, settings):
        super().__init__(path, settings)
        self._fits, self._happens = settings.launch_batch <= most, happens

    def detect(self, pictures, shape):
        if self._fits:
            return super().detect(pictures, shape)
        if self._happens == "die":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        raise {"raise": RuntimeError("no algorithm"), "memory": MemoryError()}[self._happens]


class SlowEngine(PixelEngine):
    """Takes its time for each launch."""

    def __init__(self, seconds, *made):
        super().__init__(*made)
        self._seconds = seconds

    def detect(self, pictures, shape):
        time.sleep(self._seconds)
        return super().detect(pictures, shape)


class SlowUntilEngine(PixelEngine):
    """Takes a second for each launch until a file is there."""

    def __init__(self, sign, *made):
        super().__init__(*made)
        self._sign = sign

    def detect(self, pictures, shape):
        if not os.path.exists(self._sign):
            time.sleep(1.0)
        return super().detect(pictures, shape)


class NotingEngine(PixelEngine):
    """Notes on which node of a cluster it is, by a file of that name."""

    def __init__(self, folder, *made):
        super().__init__(*made)
        import ray

        Path(folder, ray.get_runtime_context().get_node_id()).touch()


class RaisingEngine(PixelEngine):
    def detect(self, pictures, shape):
        raise RuntimeError("the engine is out of order\nand of memory")


class InfiniteEngine(PixelEngine):
    """Boxes that are not finite, as weights that overflow would give."""

    def _one(self, picture):
        found = super()._one(picture)
        found.boxes[0, 2] = np.inf
        return found


def broken_factory(path, settings):
    raise OSError("no such device")


def dying_factory(path, settings):
    os.kill(os.getpid(), signal.SIGKILL)


class HangingEngine(PixelEngine):
    """Stops its process when a picture's pixels all have one value."""

    def __init__(self, value, *made):
        super().__init__(*made)
        self._value = value

    def detect(self, pictures, shape):
        if any((picture == self._value).all() for picture in pictures):
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().detect(pictures, shape)


class HangingOnceEngine(PixelEngine):
    """Stops the first process that detects anything, or its engine; it leaves a file behind.

    Args:
        marker: the file.
        seconds: for which the engine alone does nothing, while the process answers as ever, before
            it leaves `<marker>-outlived`; None stops the whole process for good.
    """

    def __init__(self, marker, seconds, *made):
        super().__init__(*made)
        self._marker = marker
        self._seconds = seconds

    def detect(self, pictures, shape):
        if not os.path.exists(self._marker):
            open(self._marker, "x", encoding="utf-8").close()
            if self._seconds is None:
                os.kill(os.getpid(), signal.SIGSTOP)
            else:
                time.sleep(self._seconds)
                open(f"{self._marker}-outlived", "x", encoding="utf-8").close()
        return super().detect(pictures, shape)


class GatheringEngine(PixelEngine):
    """Goes on after its first launch when a folder has so many files; each process leaves one."""

    def __init__(self, folder, count, *made):
        super().__init__(*made)
        self._folder = folder
        self._count = count
        self._launches = 0

    def detect(self, pictures, shape):
        self._launches += 1
        if self._launches == 1:
            open(os.path.join(self._folder, str(os.getpid())), "w", encoding="utf-8").close()
        if self._launches == 2:
            while len(os.listdir(self._folder)) < self._count:
                time.sleep(0.05)
        return super().detect(pictures, shape)


def limited_factory(marker, size, path, settings):
    """An engine in a process that may write files of so many bytes, once: a disk that is full."""
    import resource

    if not os.path.exists(marker):
        open(marker, "x", encoding="utf-8").close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return PixelEngine(path, settings)


class NamedEngine(GatheringEngine):
    """Says which model file it was made from."""

    def __init__(self, folder, count, path, settings):
        super().__init__(folder, count, path, settings)
        self.key = os.path.basename(path)
