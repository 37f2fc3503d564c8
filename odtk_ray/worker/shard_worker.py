"""Tries a process's GPU, prepares its engine, and turns shards into shard files."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from odtk_ray.detect.detector import Detector
from odtk_ray.detect.tiling import detect_tiled
from odtk_ray.dispatch.agreement import GpuAbilities
from odtk_ray.dispatch.worker_state import Progress
from odtk_ray.engines.loader import EngineLoader, FullGpu
from odtk_ray.errors import OdtkError
from odtk_ray.moments import Moment, note_moment
from odtk_ray.plural import counted
from odtk_ray.records import ImageResult
from odtk_ray.settings import RunSettings
from odtk_ray.shards.launch_rates import LaunchRate
from odtk_ray.shards.shard_file import Receipt, write_shard
from odtk_ray.shards.sightings import sightings
from odtk_ray.storage.retry import give_up, is_waiting
from odtk_ray.worker.gpu_trial import GpuTrial, is_out_of_memory, leaves_memory
from odtk_ray.worker.measure_launch import measure_launch
from odtk_ray.worker.shard_work import ShardWork, WorkerSettings
from odtk_ray.worker.warm_up import Needs, WarmUp

if TYPE_CHECKING:
    import pyarrow as pa

CRASHED = "crashed the worker process twice, or made it hang"


class ShardWorker:
    """Detects in shards, after calls that make its engine ready.

    `try_gpu` says what its GPU can do, before the run is planned, and `measure_launch` how fast it
    is; `prepare` comes when it is. What was made before serves it, as far as the plan agrees.

    Args:
        name: of the worker, for people.
        needs: what its engine will need.
        node: Ray's id of its node; empty without Ray.
    """

    def __init__(self, name: str, needs: Needs, node: str = "") -> None:
        self.name, self._node = name, node
        self._warm_up = WarmUp(needs)
        self._settings: WorkerSettings
        self._planned = False  # whether `prepare` was called
        self._detector: Detector | None = None
        self._made_with: RunSettings | None = None
        self._spoilt = False  # the process ran out of GPU memory, perhaps within a capture
        self._done: Counter[int] = Counter()
        self._tiles = 0
        self._begun: set[int] = set()
        self._recalled: set[int] = set()
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by the shard whose files are being read
        self._stopped = False
        self._making = threading.Lock()  # held while an engine is made

    def try_gpu(self, trial: GpuTrial) -> GpuAbilities | None:
        """Find what works here, and make an engine of the largest shape with it.

        Returns:
            what the GPU can do; None if the launch does not fit in its memory: the process can only
            be ended then.

        Raises:
            OdtkError: this GPU cannot take part, or the model cannot be used.
        """
        with self._making:
            if self._planned:  # this call came late: the plan was made without it
                return None
            found = self._warm_up.abilities()
            if trial.kernels_needed and not found.kernels:
                raise OdtkError(
                    "TensorRT plans need the CUDA kernels", found.remarks[0], "pip install pycuda"
                )
            planned = trial.load.settings
            settings = replace(planned, kernels=found.kernels, decoder=found.decoder)
            load = replace(trial.load, settings=settings, shapes=trial.load.shapes[:1])
            try:
                detector = self._make(load)
                if load.shapes and not detector.use(lambda engine: leaves_memory(engine, load)):
                    self._spoilt = True
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._spoilt = True
            return None if self._spoilt else replace(found, launch_batch=settings.launch_batch)

    def measure_launch(self, load: EngineLoader) -> LaunchRate | None:
        """Measure a launch batch before the run is planned.

        Args:
            load: creates the engine; its settings have the launch batch.

        Returns:
            its speed; None if it does not fit in the GPU's memory: the process can only be ended
            then.

        Raises:
            Exception: any exception of the engine.
        """
        with self._making:
            try:
                detector = self._agreed(load) or self._make(load)
                return detector.use(lambda engine: measure_launch(engine, load))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._spoilt = True
                return None

    def prepare(self, settings: WorkerSettings, load: EngineLoader) -> Progress:
        """Make the engine that was planned ready for all planned shapes.

        Args:
            settings: of the workers.
            load: creates the engine.

        Raises:
            FullGpu: its GPU has no room for the planned launch.
            IncompatibleGpu: its results would differ from those that an update takes over.
            OdtkError: this worker cannot do what was planned.
        """
        with self._making:
            self._settings, self._planned = settings, True
            try:
                if self._spoilt:
                    raise MemoryError
                detector = self._agreed(load) or self._make(load)
                settings.check_engine(self.name, detector.engine_key)
                detector.use(lambda engine: engine.prepare(load.shapes))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise FullGpu(
                    f"{self.name} has no memory for launches of "
                    f"{counted(settings.run.launch_batch, 'picture')}"
                ) from None
            detector.canary = settings.canary
        note_moment(Moment.READY)
        return self.progress()

    @property
    def _ready(self) -> Detector:
        """The detector, once `prepare` has returned."""
        if self._detector is None:
            raise RuntimeError("the worker is not prepared")
        return self._detector

    def _agreed(self, load: EngineLoader) -> Detector | None:
        """Return the detector that was made already; end one that is not as agreed."""
        if self._detector is None or self._made_with == load.settings:
            return self._detector
        self._detector.close()
        self._detector = None
        return None

    def _make(self, load: EngineLoader) -> Detector:
        self._warm_up.wait_for_imports()
        settings = load.settings
        self._detector = Detector(
            load,
            settings.preprocessing,
            launch_batch=settings.launch_batch,
            threads=settings.threads,
        )
        self._warm_up.end()
        self._made_with = settings
        return self._detector

    def stop(self) -> None:
        """Have the shards that are running fail at their next launch, or while storage is away."""
        with self._lock:
            self._stopped = True
        give_up()

    def close(self) -> None:
        """Free the engine and the GPU, and end all threads; no shard may be running."""
        self._warm_up.end()
        if self._detector is not None:
            self._detector.close()

    def progress(self) -> Progress:
        """Report the images done of the shards that it holds."""
        with self._lock:
            return Progress(dict(self._done), self._tiles, is_waiting(), self.name, self._node)

    def recall(self, shard: int) -> None:
        """Hand back a shard that has not begun: its call returns None."""
        with self._lock:
            if shard not in self._begun:
                self._recalled.add(shard)

    def _begin(self, shard: int) -> bool:
        with self._lock:
            if shard in self._recalled:
                self._recalled.discard(shard)
                return False
            self._begun.add(shard)
            return True

    def run(self, block: pa.Table, work: ShardWork) -> Receipt | None:
        """Detect in a shard's images and write its file; return None if it was recalled before.

        A shard begins when the decode threads have been given all files of the one before it:
        they never run dry in between, and until then it can be recalled.

        Args:
            block: table of WORK_COLUMNS.
            work: which of its rows to detect in, and how.
        """
        with contextlib.ExitStack() as turn:
            turn.enter_context(self._turn)
            if not self._begin(work.shard):
                return None
            rows = block.slice(work.offset, work.length).to_pylist()
            end_turn = (lambda: None) if work.singly else turn.close
            return self._run(rows, work, end_turn)

    def _run(
        self, rows: list[dict[str, Any]], work: ShardWork, end_turn: Callable[[], None]
    ) -> Receipt:
        def count(images: int) -> None:
            with self._lock:
                self._check_stopped()
                self._done[work.shard] += images

        try:
            safe = [row for row in rows if row["index"] not in work.skip]
            paths = [row["path"] for row in safe]
            groups = [[path] for path in paths] if work.singly else [paths]
            results = [r for group in groups for r in self._detect(group, count, end_turn)]
            pairs = [(row["index"], result) for row, result in zip(safe, results, strict=True)]
            pairs += [(index, ImageResult.failed(CRASHED)) for index in sorted(work.skip)]
            name, sha256 = write_shard(
                self._settings.run_dir,
                work.shard,
                work.attempt,
                pairs,
                engine=self._ready.engine_key,
                digest=self._settings.digest,
            )
        finally:
            with self._lock:
                self._done.pop(work.shard, None)
        planned = {row["index"]: (row["width"], row["height"]) for row in rows}
        return Receipt(
            shard=work.shard,
            name=name,
            sha256=sha256,
            rows=len(pairs),
            failed=sum(result.error is not None for _, result in pairs),
            detections=sum(len(result.detections) for _, result in pairs),
            engine=self._ready.engine_key,
            by_pillow=sum(result.by_pillow for _, result in pairs),
            sightings=sightings(pairs, planned),
        )

    def probe(self, block: pa.Table, row: int) -> None:
        """Detect in one image and drop the result: all that matters is whether this returns."""
        self._detect(block.slice(row, 1)["path"].to_pylist())

    def _detect(
        self,
        paths: list[str],
        on_done: Callable[[int], None] = lambda _: None,
        on_read: Callable[[], None] = lambda: None,
    ) -> list[ImageResult]:
        run = self._settings.run
        prep, post = run.preprocessing, run.postprocessing
        if prep.tile is None:
            results = self._ready.detect(paths, on_done, on_read)
        else:
            results = detect_tiled(
                self._ready, paths, prep, post, on_done, on_read, self._count_tiles
            )
        return [result.above(run.class_limits) for result in results]

    def _count_tiles(self, tiles: int) -> None:
        with self._lock:
            self._check_stopped()
            self._tiles += tiles

    def _check_stopped(self) -> None:
        if self._stopped:
            raise InterruptedError("the run was stopped")
