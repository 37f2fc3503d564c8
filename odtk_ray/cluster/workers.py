"""The workers of a run as its pipeline sees them, wherever they are: on Ray, or in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray.artifacts.engine_set import EngineSet
from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.config import InferConfig
from odtk_ray.dispatch.agreement import GpuAbilities
from odtk_ray.dispatch.launch_survey import LaunchSurvey
from odtk_ray.engines.loader import EngineLoader, engine_module
from odtk_ray.engines.local_gpus import InspectMachine
from odtk_ray.shards.cut_shards import Shard
from odtk_ray.worker.fleet import Fleet
from odtk_ray.worker.gpu_trial import GpuTrial
from odtk_ray.worker.shard_work import WorkerSettings
from odtk_ray.worker.warm_up import Needs

T = TypeVar("T")


@dataclass(frozen=True)
class WorkersWanted:
    """What is known of a run when its workers start: its images, but not yet its model.

    Attributes:
        config: the user's settings.
        images: number of images that are left to do.
        threads: CPU threads of each worker, where the user or an earlier run fixed them.
        engine_set: the plans, where the model is an engine set.
        inspect: finds the GPUs of a process.
        own_engines: whether the caller makes the engines.
    """

    config: InferConfig
    images: int
    threads: int | None
    engine_set: EngineSet | None
    inspect: InspectMachine
    own_engines: bool = False

    def needs(self, fleet: Fleet, *, mixed: bool = False) -> Needs:
        """Return what every engine will need.

        Args:
            fleet: the workers.
            mixed: whether their GPUs are of several kinds.
        """
        if self.own_engines:
            return Needs()
        model = self.config.model
        gpu = fleet.gpus and not is_onnx(model)  # ONNX Runtime has its own kernels
        module = engine_module(model, gpus=fleet.gpus)
        return Needs(module, gpu, self.config.decoder, mixed)


@dataclass(frozen=True)
class ShardJob:
    """What workers do: all shards of a plan that are not committed.

    Attributes:
        settings: that every worker receives.
        load: creates a worker's engine.
        records: table of RECORD_SCHEMA: the images of the plan.
        shards: the shards to be done, in the order in which they are handed out.
        epoch: the driver's number, so that file names of different drivers differ.
        commit: called with the receipts of shards that are done, one or several at a time.
        progress: called with the number of images done in shards that are not committed yet, and
            of windows done by all workers, at least every second.
        failed: number of images that have failed in shards that are committed already.
        trace: file or URI for the trace; None keeps none.
        shard_timeout: seconds without an image done after which a worker hangs; None is ten times
            the median shard, at least 120.
    """

    settings: WorkerSettings
    load: EngineLoader
    records: pa.Table
    shards: list[Shard]
    epoch: int
    commit: Callable[..., object]
    progress: Callable[[int, int], None]
    failed: int = 0
    trace: str | None = None
    shard_timeout: float | None = None

    @property
    def done(self) -> int:
        """Number of images in shards that are committed already."""
        return len(self.records) - sum(map(len, self.shards))

    @property
    def rows(self) -> dict[int, NDArray[np.int64]]:
        """The record indices of each shard, in processing order, by its number."""
        return {shard.number: shard.rows for shard in self.shards}


class Workers(Protocol):
    """The workers of a run.

    Attributes:
        fleet: how many there are, and of which kind.
    """

    @property
    def fleet(self) -> Fleet:
        """The number and kind of the workers."""

    def map(
        self,
        function: Callable[..., T],
        calls: Sequence[tuple[Any, ...]],
        ended: Callable[[int], None] = lambda _: None,
    ) -> list[T]:
        """Call a function with each of some arguments, side by side, while no shard runs.

        Args:
            function: pickled if it runs elsewhere.
            calls: the arguments of each call.
            ended: called now and then with the number of calls that have ended.

        Returns:
            what the function returned, in their order.

        Raises:
            OdtkError: a call raised.
        """

    def begin_trial(self, trial: GpuTrial, least: int = 1) -> Callable[[], GpuAbilities]:
        """Begin to try the GPUs; calls of `map` may go on beside it.

        Args:
            trial: what to try; its settings have the launch batch that was asked for.
            least: smallest launch batch that the model accepts.

        Returns:
            a function that waits for what all GPUs that take part can do; it raises an OdtkError
            if none can, or if the model cannot be used.
        """

    def measure_launches(self, load: EngineLoader, survey: LaunchSurvey) -> None:
        """Have one worker of each kind measure launches, until the survey is done.

        Args:
            load: creates their engines; its shapes begin with the one that is measured.
            survey: says who measures what, and receives the rates.

        Raises:
            OdtkError: the cluster is gone, or this process cannot go on.
        """

    def run(self, job: ShardJob) -> None:
        """Detect until every shard is committed.

        Raises:
            OdtkError: no worker is left, or a worker raised: committed shards stay committed.
        """
