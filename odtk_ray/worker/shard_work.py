"""What a worker is given: settings once, then one piece of work for each shard."""

from __future__ import annotations

from dataclasses import dataclass

from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.engines.local_gpus import InspectMachine, inspect_machine
from odtk_ray.settings import RunSettings


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
        engine: key of the only engine whose results fit those that the run has; None takes any.
        gpu_types: GPUs that a worker may use, by Ray's type or by name; empty takes all.
        inspect: finds the GPU of the process.
    """

    run_dir: str
    token_file: str
    token: str
    canary: str | None
    digest: str
    run: RunSettings
    engine: str | None = None
    gpu_types: tuple[str, ...] = ()
    inspect: InspectMachine = inspect_machine

    def check_engine(self, worker: str, key: str) -> None:
        """Check that a worker's results fit those that the run has.

        Args:
            worker: its name.
            key: of its engine.

        Raises:
            IncompatibleGpu: they would differ in the last bits.
        """
        if self.engine is not None and key != self.engine:
            raise IncompatibleGpu(
                f"{worker} computes with {key}, and what --update takes over is from {self.engine}",
                "results of the two differ in the last bits",
                "update on the same kind of machine, or leave --update out to run all images",
            )


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
