"""One actor a worker: it turns shards of the plan into shard files."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odtk_ray.config import Postprocessing, Preprocessing
from odtk_ray.detect import Detector, ImageResult
from odtk_ray.engines.base import EngineFactory
from odtk_ray.results.shardfile import Receipt, write_shard
from odtk_ray.tiling import detect_tiled

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.actor import ActorHandle

    from odtk_ray.cluster.session import Fleet

# Two shards in an actor's hands share its decode threads and its engine, so that the end of one,
# where there is nothing left to decode, is filled by the other.
DEPTH = 2

# Concurrency group of the calls that must be answered while shards run.
WATCH = "watch"

CRASHED = "crashed the worker process twice"


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a run is told.

    Attributes:
        run_dir: the run folder, reachable from every node.
        digest: the plan's digest, written into each shard file.
        prep: how pictures become network input.
        post: thresholds behind the heads.
        launch_batch: pictures in one launch.
        threads: decode threads, and CPU threads of the engine.
    """

    run_dir: str
    digest: str
    prep: Preprocessing
    post: Postprocessing
    launch_batch: int
    threads: int


class Worker:
    """The actor; after a crash the driver starts another and hands its work out again."""

    def __init__(self, settings: WorkerSettings, make_engine: EngineFactory) -> None:
        self._settings = settings
        self._done: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._detector = Detector(
            make_engine,
            settings.prep,
            launch_batch=settings.launch_batch,
            threads=settings.threads,
        )

    def progress(self) -> dict[int, int]:
        """For each shard in hand the number of images done; the first answer says `ready`."""
        with self._lock:
            return dict(self._done)

    def run(
        self,
        block: pa.Table,
        offset: int,
        length: int,
        *,
        shard: int,
        attempt: str,
        skip: set[int],
        singly: bool,
    ) -> Receipt:
        """Detect in a shard's images and write its file.

        Args:
            block: table of WORK_COLUMNS.
            offset: first row of the shard in it.
            length: number of rows.
            shard: the shard's number.
            attempt: distinguishes this file from those of other attempts.
            skip: record indices that are recorded as failed, since they crash the process.
            singly: whether images run one after the other, since together they crash it.
        """
        rows = block.slice(offset, length).to_pylist()

        def count(images: int) -> None:
            with self._lock:
                self._done[shard] += images

        try:
            safe = [row for row in rows if row["index"] not in skip]
            paths = [row["path"] for row in safe]
            groups = [[path] for path in paths] if singly else [paths]
            results = [r for group in groups for r in self._detect(group, count)]
            pairs = [(row["index"], result) for row, result in zip(safe, results, strict=True)]
            pairs += [(index, ImageResult.failed(CRASHED)) for index in sorted(skip)]
            name, sha256 = write_shard(
                self._settings.run_dir,
                shard,
                attempt,
                pairs,
                engine=self._detector.engine_key,
                digest=self._settings.digest,
            )
        finally:
            with self._lock:
                self._done.pop(shard, None)
        planned = {row["index"]: (row["width"], row["height"]) for row in rows}
        return Receipt(
            shard=shard,
            name=name,
            sha256=sha256,
            rows=len(pairs),
            failed=sum(result.error is not None for _, result in pairs),
            detections=sum(len(result.detections) for _, result in pairs),
            transposed=sum(_transposed(result, planned[index]) for index, result in pairs),
            engine=self._detector.engine_key,
            by_pillow=sum(result.by_pillow for _, result in pairs),
        )

    def probe(self, block: pa.Table, row: int) -> None:
        """Detect in one image and forget the result: it only matters whether this returns."""
        self._detect(block.slice(row, 1)["path"].to_pylist(), lambda _: None)

    def _detect(self, paths: list[str], on_done: Callable[[int], None]) -> list[ImageResult]:
        prep = self._settings.prep
        if prep.tile is None:
            return self._detector.detect(paths, on_done)
        return detect_tiled(self._detector, paths, prep, self._settings.post, on_done)


def _transposed(result: ImageResult, planned: tuple[int, int]) -> bool:
    size = (result.width, result.height)
    return result.error is None and size != planned and size[::-1] == planned


def worker_starter(
    fleet: Fleet, settings: WorkerSettings, make_engine: EngineFactory
) -> Callable[[], ActorHandle[Any]]:
    """What starts one actor: on a GPU that it owns, or on its threads' cores.

    Ray neither restarts an actor nor retries its calls: the driver knows which shards a crash may
    have hit, and gives a worker up that dies again and again, where Ray would restart it for ever.
    """
    import ray

    options: dict[str, Any] = {
        "num_gpus": 1 if fleet.gpus else 0,
        "num_cpus": 0 if fleet.gpus else settings.threads,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": DEPTH,
        "concurrency_groups": {WATCH: 1},
    }
    factory: Any = ray.remote(**options)(Worker)
    return functools.partial(factory.remote, settings, make_engine)
