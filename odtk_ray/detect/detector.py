"""Detection on one machine, without Ray: read, decode, group by size, launch, collect.

Reading and decoding run in threads while the engine works in a thread of its own, so a launch
waits for pictures only when decoding is the slower of the two.
"""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from odtk_ray.engines.protocol import Content, Engine, Outcome
from odtk_ray.errors import ImageError, OdtkError
from odtk_ray.images.image_file import read_image_file
from odtk_ray.images.resize import input_size
from odtk_ray.moments import Moment, note_moment
from odtk_ray.records import Detections, ImageResult
from odtk_ray.settings import Preprocessing
from odtk_ray.storage.retry import read_image

# Launches queued behind the one that the engine computes, so that a GPU stays busy while pictures
# are late or results are being written.
_QUEUED = 2

T = TypeVar("T")

_PENDING = ImageResult.failed("not detected yet")


class Detector:
    """Runs the decode threads and the engine's thread of one worker.

    Several threads may call `detect` at once: their pictures share the decode threads and their
    launches queue for the engine.

    Args:
        make_engine: called once, in the engine's thread, which alone ever touches the engine.
        prep: how pictures become network input.
        launch_batch: pictures in one launch.
        threads: decode threads.
        canary: an image that could be read, to tell a bad image from a storage outage.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine[Any]],
        prep: Preprocessing,
        *,
        launch_batch: int,
        threads: int,
        canary: str | None = None,
    ) -> None:
        self.canary = canary
        self._prep = prep
        self._batch = launch_batch
        # Pictures decoded ahead: the launches in the queue, and one picture for each thread.
        self._ahead = (1 + _QUEUED) * launch_batch + threads
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._engine = self._engine_thread.submit(make_engine).result()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the engine, in its own thread, and end all threads; no detection may be running."""
        self._decoders.shutdown(cancel_futures=True)
        self._engine_thread.submit(self._end_engine).result()
        self._engine_thread.shutdown()

    def _end_engine(self) -> None:
        self._engine.close()
        del self._engine  # what belongs to this thread is freed in it

    def use(self, call: Callable[[Engine[Any]], T]) -> T:
        """Return what a function returns that is called with the engine, in the engine's thread."""
        return self._engine_thread.submit(call, self._engine).result()

    @property
    def engine_key(self) -> str:
        """The engine's `key`."""
        return self._engine.key

    def detect(
        self,
        paths: Sequence[str],
        on_done: Callable[[int], None] = lambda _: None,
        on_read: Callable[[], None] = lambda: None,
    ) -> list[ImageResult]:
        """Detect in files; return one result for each path, in the same order.

        Args:
            paths: local paths or URIs.
            on_done: called with the number of images that just got their result.
            on_read: called once, when the decode threads have been given all files.

        Raises:
            Exception: any exception of the engine. A bad image never raises.
        """
        read = functools.partial(read_image_file, prep=self._prep)

        def files() -> Iterator[Callable[[], Content]]:
            for path in paths:
                yield functools.partial(read_image, path, self.canary, read)
            on_read()

        return self.detect_in(self.read_ahead(files()), on_done)

    def detect_in(
        self,
        pictures: Iterable[Any],
        on_done: Callable[[int], None] = lambda _: None,
    ) -> list[ImageResult]:
        """Detect in what `read_ahead` yields; return one result for each, in the same order.

        Args:
            pictures: pictures and errors; the errors become failed results.
            on_done: called with the number of pictures that just got their result.

        Raises:
            Exception: any exception of the engine.
        """
        results: list[ImageResult] = []
        waiting: dict[tuple[int, int], list[tuple[int, Any]]] = defaultdict(list)
        launched: deque[tuple[list[tuple[int, Any]], Future[Callable[[], list[Outcome]]]]] = deque()

        def collect(limit: int) -> None:
            while len(launched) > limit:
                rows, started = launched.popleft()
                # The next launches are queued already, so a GPU stays busy while this waits.
                outcomes = started.result()()
                note_moment(Moment.DETECTED)
                for (slot, picture), outcome in zip(rows, outcomes, strict=True):
                    results[slot] = _to_image(picture, outcome)
                on_done(len(rows))

        def launch(shape: tuple[int, int]) -> None:
            rows = waiting.pop(shape)
            pictures = [picture for _, picture in rows]
            started = self._engine_thread.submit(self._engine.launch, pictures, shape)
            launched.append((rows, started))
            collect(_QUEUED)

        for slot, picture in enumerate(pictures):
            results.append(_PENDING)
            if isinstance(picture, ImageError):
                results[slot] = ImageResult.failed(str(picture))
                on_done(1)
                continue
            width, height = picture.size
            shape = input_size(width, height, self._prep)[::-1]
            waiting[shape].append((slot, picture))
            if len(waiting[shape]) == self._batch:
                launch(shape)
        for shape in list(waiting):
            launch(shape)
        collect(0)
        return results

    def read_ahead(self, loads: Iterable[Callable[[], Content]]) -> Iterator[Any]:
        """Yield pictures for `detect_in`, or errors, in the given order, reading some ahead.

        Args:
            loads: functions that return a file's bytes or decoded pixels; called in decode threads.
        """

        def read(load: Callable[[], Content]) -> Any:
            return attempt(lambda: self._engine.read(load()))

        pending: deque[Future[Any]] = deque()
        for load in loads:
            pending.append(self._decoders.submit(read, load))
            if len(pending) > self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def attempt(load: Callable[[], Any]) -> Any:
    """Call `load`; return what it returns, or an ImageError that says why it failed."""
    try:
        return load()
    except ImageError as error:
        return ImageError(str(error))  # without the traceback, which holds all that was read
    except OdtkError:
        raise
    except OSError as error:
        return ImageError(f"cannot be read: {error.strerror or error}")
    except Exception as error:  # no single file may end a run over a million others
        return ImageError(f"cannot be decoded: {type(error).__name__}: {error}")


def _to_image(picture: Any, outcome: Outcome) -> ImageResult:
    """Scale boxes_net to boxes_img, in float32 as ODTK does; sin and cos stay."""
    found = outcome.found
    if isinstance(found, ImageError):
        return ImageResult.failed(str(found))
    boxes_img = found.boxes.copy()
    boxes_img[:, :4] /= np.float32(picture.ratio)
    if not np.isfinite(boxes_img).all():
        return ImageResult.failed("the model gave boxes that are not finite")
    scaled = Detections(found.scores, boxes_img, found.classes)
    size = picture.width, picture.height
    return ImageResult(None, *size, scaled, outcome.by_pillow, picture.traits)
