"""Reads what a run is asked for, and rejects what cannot work before Ray starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import EngineSet, is_engine_set, read_engine_set
from odtk_ray.artifacts.exported_model import ExportedModel
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, read_sidecar
from odtk_ray.config import InferConfig
from odtk_ray.datasets.classes import ClassMap, map_classes
from odtk_ray.datasets.coco import file_digest, read_coco
from odtk_ray.datasets.image_sources import Dataset, find_images
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import InspectMachine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.errors import UsageError
from odtk_ray.model.open_model import OpenedModel, open_model, resolve_settings
from odtk_ray.pictures.draw_run import check_drawing
from odtk_ray.run.fingerprint import check_resume, fingerprint, same_images
from odtk_ray.run.output_text import check_text
from odtk_ray.run.replaced_images import see_replaced
from odtk_ray.settings import AnchorGeneration, RunSettings
from odtk_ray.shards.run_folder import RunFolder

if TYPE_CHECKING:
    from odtk_ray.reporter import RunReporter


@dataclass(frozen=True)
class RunDraft:
    """Everything that can be known about a run, and rejected, before Ray starts.

    Attributes:
        config: the user's settings.
        opened: the model, and the settings that it decides.
        settings: the settings that a resumed run must repeat.
        engine_set: the TensorRT plans, if the model is an engine set.
        batches: least and greatest launch that the model accepts; None accepts any.
        run: the run folder to resume; None starts a new one from the two fields below.
        dataset: the images of a new run.
        classes: the meaning of its class indices.
    """

    config: InferConfig
    opened: OpenedModel
    settings: RunSettings
    engine_set: EngineSet | None = None
    batches: tuple[int, int] | None = None
    run: RunFolder | None = None
    dataset: Dataset | None = None
    classes: ClassMap | None = None

    @property
    def threads(self) -> int | None:
        """Threads per worker, if the resumed plan or the user fixes them."""
        return self.run.plan.settings.threads if self.run else self.config.threads_per_worker

    def loader(self, make: EngineFactory | None, inspect: InspectMachine) -> EngineLoader:
        """Return the loader of the workers' engines; plan settings and shapes are added later.

        Args:
            make: creates the engines instead.
            inspect: finds the GPU of a process.
        """
        return EngineLoader(
            storage.absolute(self.config.model),  # workers have a working directory of their own
            self.opened.model.sha256,
            self.opened.anchors,
            self.settings,
            engine_set=self.engine_set,
            fallback=self.config.fallback,
            inspect=inspect,
            make=make,
        )

    @property
    def local_cpus(self) -> int:
        """CPU slots that a Ray started on this machine needs."""
        return (self.config.workers or 1) * (self.threads or 1)


def draft_run(config: InferConfig, reporter: RunReporter) -> RunDraft:
    """Read the model, images and annotations that the user named, and reject what cannot work.

    Raises:
        UsageError: the model, the images, the annotations or the run folder cannot be used.
    """
    _give_memory_back()
    if config.resume and RunFolder.exists(config.run_folder):
        run = RunFolder.reopen(config.run_folder)
        digest = file_digest(config.annotations) if config.annotations else ""
        if digest and digest != run.plan.settings.annotations and same_images(_find(config), run):
            reporter.note(f"{config.annotations} has changed: it is scored as it is now")
            digest = run.plan.settings.annotations
        reporter.stage("reading the model")
        draft = replace(_open_model(config, digest), run=run)
        check_resume(run, config, draft.settings)
        check_drawing(config, run.plan.records)
        ids, names = (run.plan.outputs[key] for key in ("category_ids", "category_names"))
        check_text(config.output, run.plan.records, ids, names)
        see_replaced(config, run, reporter)
        return draft
    if config.resume:
        reporter.warn(f"nothing to resume in {config.run_folder}: starting a new run")
    RunFolder.refuse_existing(config.run_folder)
    # Images before the model: torch takes 500 MiB, in addition to the memory that parsing needs.
    reporter.stage("reading the annotations" if config.annotations else "listing the images")
    dataset = _find(config)
    check_drawing(config, dataset.records)
    reporter.stage("reading the model")
    draft = _open_model(config, dataset.digest)
    model = draft.opened.model
    classes = map_classes(
        model.classes, model.class_names, model.category_ids, dataset.categories, dataset.used
    )
    check_text(config.output, dataset.records, classes.ids, classes.names)
    for note in (*dataset.notes, classes.note):
        reporter.note(note)
    for finding in dataset.findings:
        reporter.warn(finding.text, finding.remedy)
    return replace(draft, dataset=dataset, classes=classes)


def _open_model(config: InferConfig, annotations: str) -> RunDraft:
    """Open the model, and draft the run with the settings that it decides.

    Args:
        config: the user's settings.
        annotations: hash of the annotation file; empty without one.
    """
    if is_engine_set(config.model):
        engine_set = read_engine_set(config.model)
        opened = resolve_settings(config, engine_set.model)
        if config.fallback is not None:
            _check_fallback(config, config.fallback, opened.anchors, engine_set.model)
        settings = fingerprint(config, opened, annotations, torch_free=not config.fallback)
        return RunDraft(config, opened, settings, engine_set, engine_set.batches)
    if config.fallback is not None:
        raise UsageError("--fallback needs an engine set", f"{config.model} is not one")
    with model_file(config.model) as local:
        opened = open_model(config, local)
        batches = read_sidecar(local).batches if is_tensorrt_plan(local) else None
    settings = fingerprint(config, opened, annotations, torch_free=batches is not None)
    return RunDraft(config, opened, settings, batches=batches and (batches[0], batches[-1]))


def _check_fallback(
    config: InferConfig, fallback: str, anchors: AnchorGeneration, model: ExportedModel
) -> None:
    """Check that the fallback is the checkpoint that the set's TensorRT plans were built from."""
    from odtk_ray.model.checkpoint import load_checkpoint

    with model_file(fallback) as local:
        found = load_checkpoint(local, anchors).sha256
    if found != model.checkpoint:
        raise UsageError(
            f"--fallback {fallback} is not the model of {config.model}",
            f"its hash is {found[:12]}, and the plans were built from {model.checkpoint[:12]}",
            "give the checkpoint that was exported",
        )


def _find(config: InferConfig) -> Dataset:
    if config.annotations is None:
        return find_images(config.images, recursive=config.recursive, limit=config.limit)
    return read_coco(
        config.annotations, config.images, allow_missing=config.allow_missing, limit=config.limit
    )


def _give_memory_back() -> None:
    """Have Arrow return memory to the system: its pool kept 65 MiB after reading 200,000 images."""
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
