"""One actor a worker: it turns shards of the plan into shard files."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from odtk_ray.cluster.gpu_nodes import check_gpu_type, node_id
from odtk_ray.detect.detector import Detector
from odtk_ray.detect.tiling import detect_tiled
from odtk_ray.dispatch.worker_state import DEPTH, Progress
from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.engines.local_gpus import InspectMachine, inspect_machine
from odtk_ray.engines.protocol import Engine
from odtk_ray.errors import OdtkError
from odtk_ray.moments import Moment, note_moment, noted_moments, process_start
from odtk_ray.records import ImageResult
from odtk_ray.settings import RunSettings
from odtk_ray.shards.shard_file import Receipt, write_shard
from odtk_ray.shards.sightings import sightings
from odtk_ray.storage import read_bytes
from odtk_ray.storage.retry import is_waiting, touch, with_retries

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.actor import ActorHandle

    from odtk_ray.cluster.node_selection import NodeSelection
    from odtk_ray.cluster.session import Fleet

# Concurrency group of the calls that must be answered while shards are running.
WATCH = "watch"

# Seconds for which a node that cannot reach storage retries before the run fails.
_ACCESS_PATIENCE = 10.0
_SHARED = "run folder and images must be on storage that every node sees under the same path"

T = TypeVar("T")

# Loads the model; it is pickled.
MakeEngine = Callable[[], Engine[Any]]

CRASHED = "crashed the worker process twice, or made it hang"


@dataclass(frozen=True)
class WorkerSettings:
    """The settings that every worker of a run receives.

    Attributes:
        run_dir: the run folder, reachable from every node.
        token_file: a file in the run folder, written by this run's driver.
        token: its content.
        canary: an image that the driver could read; None if it could not read any.
        digest: the plan's digest, written into each shard file.
        run: the run's settings.
        gpu_types: GPUs that a worker may use, by Ray's type or by name; empty takes all.
        inspect: finds the GPU of the process.
    """

    run_dir: str
    token_file: str
    token: str
    canary: str | None
    digest: str
    run: RunSettings
    gpu_types: tuple[str, ...] = ()
    inspect: InspectMachine = inspect_machine


@dataclass(frozen=True)
class ShardWork:
    """The work of one call, in one argument: seven arguments took the driver twice as long.

    Attributes:
        offset: first row of the shard in its block.
        length: number of rows.
        shard: the shard's number.
        attempt: distinguishes the file from those of other attempts.
        skip: record indices that are recorded as failed, since they crash the process.
        singly: whether images run one after the other, since together they crash it.
    """

    offset: int
    length: int
    shard: int
    attempt: str
    skip: frozenset[int]
    singly: bool


class Worker:
    """The actor; after a crash the driver starts another and hands out its shards again."""

    def __init__(self, settings: WorkerSettings, make_engine: MakeEngine) -> None:
        note_moment(Moment.PROCESS, process_start())
        note_moment(Moment.CALLED)
        self._name = worker_name()  # first: Ray asks for it if the rest of the constructor raises
        check_access(settings)  # before a model is loaded, which may take minutes
        self._settings = settings
        self._done: Counter[int] = Counter()
        self._tiles = 0
        self._begun: set[int] = set()
        self._recalled: set[int] = set()
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by the shard whose files are being read
        try:
            check_gpu_type(settings.gpu_types, settings.inspect)
            self._detector = Detector(
                make_engine,
                settings.run.preprocessing,
                launch_batch=settings.run.launch_batch,
                threads=settings.run.threads,
                canary=settings.canary,
            )
        except IncompatibleGpu as error:
            error.node = node_id()
            raise
        note_moment(Moment.READY)

    def __repr__(self) -> str:
        return self._name  # which Ray shows in its dashboard, lists and logs

    def progress(self) -> Progress:
        """Report the images done of the shards it holds; the first answer means "ready"."""
        with self._lock:
            return Progress(dict(self._done), self._tiles, is_waiting(), self._name)

    def moments(self) -> dict[Moment, float]:
        """Return when this process got how far, in seconds since 1970."""
        return noted_moments()

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
                engine=self._detector.engine_key,
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
            engine=self._detector.engine_key,
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
            return self._detector.detect(paths, on_done, on_read)
        return detect_tiled(self._detector, paths, prep, post, on_done, on_read, self._count_tiles)

    def _count_tiles(self, tiles: int) -> None:
        with self._lock:
            self._tiles += tiles


def worker_name() -> str:
    """Return a name for this process: the GPU's kind and number, and the node."""
    import ray

    context = ray.get_runtime_context()
    gpus = context.get_accelerator_ids().get("GPU", [])
    kind = context.get_node_labels().get("ray.io/accelerator-type", "GPU")
    where = f"{kind} {gpus[0]}" if gpus else f"CPU {os.getpid()}"
    return f"{where} on {socket.gethostname()}"


def check_access(settings: WorkerSettings) -> None:
    """Check that this node can read the run folder and the images.

    Raises:
        OdtkError: it does not; the message names the node.
    """
    import ray

    address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    node = f"node {address} ({socket.gethostname()})"

    def see(path: str, what: str, read: Callable[[str], T]) -> T:
        try:
            return with_retries(lambda: read(path), _ACCESS_PATIENCE)
        except (OSError, ImportError, ValueError) as error:
            why = f"{path}: {getattr(error, 'strerror', None) or error}"
            raise OdtkError(f"{node} cannot read the {what}", why, _SHARED) from error

    if see(settings.token_file, "run folder", read_bytes).decode() != settings.token:
        why = f"{settings.token_file} is not the file that the driver wrote"
        raise OdtkError(f"{node} sees another run folder", why, _SHARED)
    if settings.canary is not None:
        see(settings.canary, "images", touch)


def worker_starter(
    fleet: Fleet, nodes: NodeSelection, settings: WorkerSettings, make_engine: MakeEngine
) -> Callable[[], ActorHandle[Any]]:
    """Return a function that starts one actor, on a GPU or on its threads' cores.

    Ray neither restarts an actor nor retries its calls: the driver knows which shards a crash may
    have affected, and gives up a worker that keeps dying, which Ray would restart for ever.
    """
    import ray

    options: dict[str, Any] = {
        "num_gpus": 1 if fleet.gpus else 0,
        "num_cpus": 0 if fleet.gpus else settings.run.threads,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": DEPTH,
        "concurrency_groups": {WATCH: 1},
    }
    factory: Any = ray.remote(**options)(Worker)

    def start() -> ActorHandle[Any]:
        selector = nodes.selector() if fleet.gpus else {}
        placed = factory.options(label_selector=selector) if selector else factory
        actor: ActorHandle[Any] = placed.remote(settings, make_engine)
        return actor

    return start
