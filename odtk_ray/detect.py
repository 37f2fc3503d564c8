"""Detection on one machine, without Ray: read, decode, group by size, launch, collect.

Reading and decoding run in threads while the engine works in a thread of its own, so a launch
waits for pictures only when decoding is the slower of the two.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from odtk_ray.config import Preprocessing
from odtk_ray.data import storage
from odtk_ray.data.images import Picture, load_picture, padded_size
from odtk_ray.engines.base import Engine, EngineFactory
from odtk_ray.errors import ImageError
from odtk_ray.records import Detections

# Seconds to wait before storage that failed is asked again.
_PAUSES = (0.5, 2.0)

_NOTHING = Detections(np.empty(0, np.float32), np.empty((0, 4), np.float32), np.empty(0, np.int32))


@dataclass(frozen=True)
class ImageResult:
    """What became of one image.

    Attributes:
        error: why it failed; None when it was detected.
        width: decoded width in pixels, 0 when it failed.
        height: likewise.
        detections: boxes_img; empty when it failed.
    """

    error: str | None
    width: int
    height: int
    detections: Detections

    @classmethod
    def failed(cls, error: str) -> ImageResult:
        """The result of an image that cannot be processed."""
        return cls(error, 0, 0, _NOTHING)


class Detector:
    """Owns the decode threads and the engine's thread of one worker.

    Several threads may call `detect` at once: their pictures share the decode threads and their
    launches queue for the engine.

    Args:
        make_engine: called once, in the engine's thread, which alone ever touches the engine.
        prep: how pictures become network input.
        launch_batch: pictures in one launch.
        threads: decode threads.
    """

    def __init__(
        self, make_engine: EngineFactory, prep: Preprocessing, *, launch_batch: int, threads: int
    ) -> None:
        self._prep = prep
        self._batch = launch_batch
        # Pictures decoded ahead: the batch in the engine's hands, the next, and some in the making.
        self._ahead = 2 * launch_batch + threads
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._engine: Engine = self._engine_thread.submit(make_engine).result()

    @property
    def engine_key(self) -> str:
        """The engine's `key`."""
        return self._engine.key

    def detect(
        self, paths: Sequence[str], on_done: Callable[[int], None] = lambda _: None
    ) -> list[ImageResult]:
        """Detect in files; one result for each path, in the same order.

        Args:
            paths: local paths or URIs.
            on_done: called with the number of images that just got their result.

        Raises:
            Exception: whatever the engine raised. A bad image never raises.
        """
        results: list[ImageResult | None] = [None] * len(paths)
        waiting: dict[tuple[int, int], list[tuple[int, Picture]]] = defaultdict(list)
        launched: deque[Future[list[tuple[int, ImageResult]]]] = deque()

        def collect(limit: int) -> None:
            while len(launched) > limit:
                rows = launched.popleft().result()
                for slot, result in rows:
                    results[slot] = result
                on_done(len(rows))

        def launch(shape: tuple[int, int]) -> None:
            launched.append(self._engine_thread.submit(self._run, waiting.pop(shape), shape))
            collect(1)

        for slot, picture in enumerate(self._decoded(paths)):
            if isinstance(picture, ImageError):
                results[slot] = ImageResult.failed(str(picture))
                on_done(1)
                continue
            height, width = picture.pixels.shape[:2]
            shape = padded_size(width, height, self._prep.stride)[::-1]
            waiting[shape].append((slot, picture))
            if len(waiting[shape]) == self._batch:
                launch(shape)
        for shape in list(waiting):
            launch(shape)
        collect(0)
        return [result for result in results if result is not None]

    def _decoded(self, paths: Sequence[str]) -> Iterator[Picture | ImageError]:
        """Pictures in the order of `paths`, decoded a bounded number ahead."""
        pending: deque[Future[Picture | ImageError]] = deque()
        for path in paths:
            pending.append(self._decoders.submit(self._load, path))
            if len(pending) > self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _load(self, path: str) -> Picture | ImageError:
        try:
            return load_picture(_read(path), self._prep)
        except ImageError as error:
            return error
        except OSError as error:
            return ImageError(f"cannot be read: {error.strerror or error}")
        except Exception as error:  # no file, however odd, may end a run over a million others
            return ImageError(f"cannot be decoded: {type(error).__name__}: {error}")

    def _run(
        self, rows: Sequence[tuple[int, Picture]], shape: tuple[int, int]
    ) -> list[tuple[int, ImageResult]]:
        pictures = [picture for _, picture in rows]
        found = self._engine.detect([p.pixels for p in pictures], shape)
        return [
            (slot, _to_image(picture, detections))
            for (slot, picture), detections in zip(rows, found, strict=True)
        ]


def _read(path: str) -> bytes:
    """Read a file; storage that fails for a moment is asked again."""
    for pause in _PAUSES:
        try:
            return storage.read_bytes(path)
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            raise
        except OSError:
            time.sleep(pause)
    return storage.read_bytes(path)


def _to_image(picture: Picture, found: Detections) -> ImageResult:
    """Scale boxes_net to boxes_img, in float32 as ODTK does."""
    boxes_img = found.boxes / np.float32(picture.ratio)
    if not np.isfinite(boxes_img).all():
        return ImageResult.failed("the model gave boxes that are not finite")
    scaled = Detections(found.scores, boxes_img, found.classes)
    return ImageResult(None, picture.width, picture.height, scaled)
