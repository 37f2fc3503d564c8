"""Everything before the first image but the plan itself: inputs, workers, model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from odtk_ray.cluster.local_workers import local_workers
from odtk_ray.cluster.workers import Workers, WorkersWanted
from odtk_ray.config import InferConfig
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import InspectMachine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.reporter import Reporter, RunReporter
from odtk_ray.run.draft_run import (
    RunDraft,
    RunInputs,
    RunModel,
    draft_run,
    is_checkpoint,
    open_run_model,
    read_inputs,
)
from odtk_ray.run.run_files import check_files
from odtk_ray.storage.retry import outages_told


@dataclass(frozen=True)
class PreparedRun:
    """A run that can be planned, or resumed.

    Attributes:
        draft: its images and its model.
        workers: its workers, which have been started.
        load: creates a worker's engine.
    """

    draft: RunDraft
    workers: Workers
    load: EngineLoader


@contextlib.contextmanager
def prepared_run(
    config: InferConfig,
    reporter: RunReporter,
    make_engine: EngineFactory | None,
    inspect: InspectMachine,
) -> Iterator[PreparedRun]:
    """Read what a run is made of and start its workers, which end with the context.

    Args:
        config: the user's settings.
        reporter: receives progress and remarks.
        make_engine: makes each worker's engine; None loads the model.
        inspect: finds the GPUs of a process, if their kind matters.

    Raises:
        OdtkError: the run cannot start; nothing was written.
    """
    check_files(config)
    inputs = read_inputs(config, reporter)
    wanted = WorkersWanted(
        config,
        inputs.images_left,
        inputs.threads,
        inputs.engine_set,
        inspect,
        own_engines=make_engine is not None,
    )
    model = open_model_early(inputs)
    reporter.stage(say_start(config))
    with outages_told(reporter.warn), open_workers(wanted, reporter) as workers:
        reporter.stage("reading the model")
        draft = draft_run(inputs, model or open_run_model(inputs), reporter)
        yield PreparedRun(draft, workers, draft.loader(make_engine, inspect))


def say_start(config: InferConfig) -> str:
    """Say what takes the first seconds: Ray, or without it the model."""
    if config.local:
        return "reading the model"
    address = config.address or os.environ.get("RAY_ADDRESS")
    return f"connecting to Ray at {address}" if address else "starting Ray"


def open_model_early(inputs: RunInputs) -> RunModel | None:
    """Open the model before the workers start, if that is quick or nodes are waited for.

    What cannot work is refused at once then. A checkpoint is opened when the workers have been
    started: to import torch takes seconds, which they need for the same, and connecting to Ray
    takes more than twice as long beside it, since both are Python and share its lock.
    """
    if inputs.config.wait_for_nodes or not is_checkpoint(inputs.config):
        return open_run_model(inputs)
    return None


def open_workers(
    wanted: WorkersWanted, reporter: Reporter
) -> contextlib.AbstractContextManager[Workers]:
    """Choose and start the workers; they end with the context."""
    if wanted.config.local:
        return local_workers(wanted, reporter)
    from odtk_ray.cluster.ray_workers import ray_workers

    return ray_workers(wanted, reporter)
