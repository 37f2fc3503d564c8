"""One actor a worker: what `worker` does in one process, in a process of Ray's."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from odtk_ray import __version__
from odtk_ray.cluster.gpu_nodes import check_gpu_type, node_id
from odtk_ray.dispatch.agreement import Answer
from odtk_ray.dispatch.worker_state import DEPTH, Progress
from odtk_ray.engines.loader import EngineLoader, IncompatibleGpu
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.moments import Moment, note_moment, noted_moments, process_start
from odtk_ray.storage import read_bytes
from odtk_ray.storage.retry import touch, with_retries
from odtk_ray.worker.gpu_trial import GpuTrial
from odtk_ray.worker.shard_work import WorkerSettings
from odtk_ray.worker.shard_worker import ShardWorker
from odtk_ray.worker.warm_up import Needs

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from odtk_ray.cluster.node_selection import NodeSelection
    from odtk_ray.worker.fleet import Fleet

# Concurrency group of the calls that must be answered while shards are running.
WATCH = "watch"

# Seconds for which a node that cannot reach storage retries before the run fails.
_ACCESS_PATIENCE = 10.0
_SHARED = "run folder and images must be on storage that every node sees under the same path"

# Of this process's actors, over all its runs: Ray frees a name some time after its actor's end.
_numbers = itertools.count()

T = TypeVar("T")


class Worker(ShardWorker):
    """The actor; after a crash the driver starts another and hands out its shards again.

    Args:
        needs: what its engine will need.
        version: of this package, on the driver.

    Raises:
        OdtkError: its node has another version.
    """

    def __init__(self, needs: Needs, version: str = __version__) -> None:
        note_moment(Moment.PROCESS, process_start())
        note_moment(Moment.CALLED)
        self.name = worker_name()  # Ray asks for it, whatever is raised here
        if version != __version__:
            what = f"it has odtk-ray {__version__}, and the driver has {version}"
            raise OdtkError(what, hint="install the same version on every node")
        super().__init__(self.name, needs, node_id())

    def __repr__(self) -> str:
        return self.name  # which Ray shows in its dashboard, lists and logs

    def moments(self) -> dict[Moment, float]:
        """Return when this process got how far, in seconds since 1970."""
        return noted_moments()

    def try_for(self, trial: GpuTrial) -> Answer:
        """Try the GPU; what speaks against it is part of the answer.

        Raises:
            UsageError: the model cannot be used, on any GPU.
        """
        kind = ""
        try:
            if trial.tell_kinds and (gpus := trial.load.inspect().gpus):
                kind = str(gpus[0])
            return Answer(self.name, kind, self.try_gpu(trial))
        except UsageError:
            raise
        except OdtkError as error:
            return Answer(self.name, kind, error=_here(error))

    def prepare(self, settings: WorkerSettings, load: EngineLoader) -> Progress:
        """See `ShardWorker.prepare`; look first whether this node sees the run's files.

        Raises:
            IncompatibleGpu: this GPU cannot do what was planned.
            OdtkError: this worker cannot.
        """
        check_access(settings)
        try:
            check_gpu_type(settings.gpu_types, settings.inspect)
            return super().prepare(settings, load)
        except IncompatibleGpu as error:
            raise _here(error) from None


def _here(error: OdtkError) -> IncompatibleGpu:
    """Return the error with the place of this process's GPU."""
    if not isinstance(error, IncompatibleGpu):
        error = IncompatibleGpu(error.what, error.why, error.hint)
    error.node = node_id()
    return error


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


def actor_starter(
    fleet: Fleet, nodes: NodeSelection, needs: Needs, run: str
) -> Callable[[], ActorHandle[Any]]:
    """Return a function that starts one actor, on a GPU or on its threads' cores.

    Ray neither restarts an actor nor retries its calls: the driver knows which shards a crash may
    have affected, and gives up a worker that keeps dying, which Ray would restart for ever.

    Args:
        fleet: the workers.
        nodes: those that take part.
        needs: what every engine needs.
        run: its name, which the actors' names have.
    """
    import ray

    # The names are for `ray list actors`; nobody else's can be in the way in a job's own namespace.
    namespace = f"odtk:{ray.get_runtime_context().get_job_id()}"
    options: dict[str, Any] = {
        "num_gpus": 1 if fleet.gpus else 0,
        "num_cpus": 0 if fleet.gpus else fleet.threads,
        "max_restarts": 0,
        "max_task_retries": 0,
        "max_concurrency": DEPTH,
        "concurrency_groups": {WATCH: 1},
    }
    factory: Any = ray.remote(**options)(Worker)

    def start() -> ActorHandle[Any]:
        selector = nodes.selector()
        named = {"name": f"odtk:{run}:{next(_numbers)}", "namespace": namespace}
        placed = factory.options(**named, **({"label_selector": selector} if selector else {}))
        actor: ActorHandle[Any] = placed.remote(needs, __version__)
        return actor

    return start
