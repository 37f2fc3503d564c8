"""Reads what a run is asked for, and rejects what cannot work without its workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import EngineSet, is_engine_set, read_engine_set
from odtk_ray.artifacts.exported_model import ExportedModel, is_onnx
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, read_sidecar
from odtk_ray.config import InferConfig
from odtk_ray.datasets.class_names import read_class_names
from odtk_ray.datasets.classes import ClassMap, map_classes
from odtk_ray.datasets.coco import file_digest, read_coco
from odtk_ray.datasets.image_sources import Dataset, find_images
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import InspectMachine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.errors import UsageError
from odtk_ray.model.open_model import Model, OpenedModel, open_model, resolve_settings
from odtk_ray.moments import Moment, note_moment
from odtk_ray.pictures.draw_run import check_drawing
from odtk_ray.run.class_limits import class_limits
from odtk_ray.run.fingerprint import check_limits, check_resume, fingerprint, same_images
from odtk_ray.run.output_text import check_text
from odtk_ray.run.replaced_images import see_replaced
from odtk_ray.run.update_run import (
    Update,
    begin_update,
    check_drafted,
    check_planned,
    resume_update,
)
from odtk_ray.settings import AnchorGeneration, RunSettings
from odtk_ray.shards.run_folder import RunFolder

if TYPE_CHECKING:
    from odtk_ray.reporter import Reporter, RunReporter


@dataclass(frozen=True)
class RunInputs:
    """The images of a run, and what else is known without its model.

    Attributes:
        config: the user's settings.
        digest: hash of the annotation file; empty without one.
        engine_set: the TensorRT plans, if the model is an engine set.
        run: the run folder to resume; None starts a new one from the images below.
        dataset: the images of a new run.
        update: what the run takes over from an earlier one.
    """

    config: InferConfig
    digest: str
    engine_set: EngineSet | None = None
    run: RunFolder | None = None
    dataset: Dataset | None = None
    update: Update | None = None

    @property
    def threads(self) -> int | None:
        """Threads per worker, if an earlier plan or the user fixes them."""
        if self.run:
            return self.run.plan.settings.threads
        given = self.config.threads_per_worker
        return given or (self.update.earlier.plan.settings.threads if self.update else None)

    @property
    def images_left(self) -> int:
        """The number of images that are not done."""
        if self.run:
            return len(self.run.plan.records) - self.run.images_done
        taken_over = self.update.counts.reused if self.update else 0
        return len(self.dataset.records) - taken_over if self.dataset else 0


@dataclass(frozen=True)
class RunModel:
    """The model of a run.

    Attributes:
        opened: the model, and the settings that it decides.
        settings: the settings that a resumed run must repeat.
        batches: least and greatest launch that the model accepts; None accepts any.
    """

    opened: OpenedModel
    settings: RunSettings
    batches: tuple[int, int] | None = None


@dataclass(frozen=True)
class RunDraft:
    """Everything that can be known about a run, and rejected, without its workers.

    Attributes:
        inputs: its images.
        model: its model.
        classes: the meaning of its class indices; None for a run that is resumed.
        class_limits: the scores that its classes need; see `RunSettings`.
    """

    inputs: RunInputs
    model: RunModel
    classes: ClassMap | None = None
    class_limits: tuple[float, ...] = ()

    def loader(self, make: EngineFactory | None, inspect: InspectMachine) -> EngineLoader:
        """Return the loader of the workers' engines; plan settings and shapes are added later.

        Args:
            make: creates the engines instead.
            inspect: finds the GPU of a process.
        """
        config, opened = self.inputs.config, self.model.opened
        return EngineLoader(
            storage.absolute(config.model),  # workers have a working directory of their own
            opened.model.sha256,
            opened.anchors,
            self.model.settings,
            engine_set=self.inputs.engine_set,
            fallback=config.fallback,
            inspect=inspect,
            make=make,
        )


def read_inputs(config: InferConfig, reporter: RunReporter) -> RunInputs:
    """Read the images and annotations that the user named, or the run to resume.

    Raises:
        UsageError: the images, the annotations, the run folder or the engine set cannot be used.
    """
    _give_memory_back()
    engine_set = read_engine_set(config.model) if is_engine_set(config.model) else None
    if config.fallback is not None and engine_set is None:
        raise UsageError("--fallback needs an engine set", f"{config.model} is not one")
    if config.resume and RunFolder.exists(config.run_folder):
        run = RunFolder.reopen(config.run_folder)
        digest = file_digest(config.annotations) if config.annotations else ""
        if digest and digest != run.plan.settings.annotations and same_images(_find(config), run):
            reporter.note(f"{config.annotations} has changed: it is scored as it is now")
            digest = run.plan.settings.annotations
        check_drawing(config, run.plan.records)
        return RunInputs(config, digest, engine_set, run, update=resume_update(config, run))
    if config.resume:
        reporter.warn(f"nothing to resume in {config.run_folder}: starting a new run")
    RunFolder.refuse_existing(config.run_folder)
    reporter.stage("reading the annotations" if config.annotations else "listing the images")
    dataset = _find(config)
    check_drawing(config, dataset.records)
    update = None
    if config.update is not None:
        update = begin_update(config, dataset.records, reporter)
    if update:
        dataset = replace(dataset, records=update.with_sizes(dataset.records))
    return RunInputs(config, dataset.digest, engine_set, dataset=dataset, update=update)


def open_run_model(inputs: RunInputs) -> RunModel:
    """Open the model, and draft the settings that it decides.

    A checkpoint imports torch, which takes seconds and 500 MiB, in addition to the memory that
    reading the images needs: so that comes first.

    Raises:
        UsageError: the model cannot be used.
    """
    config, engine_set = inputs.config, inputs.engine_set
    if engine_set is not None:
        opened = resolve_settings(config, engine_set.model)
        if config.fallback is not None:
            _check_fallback(config, config.fallback, opened.anchors, engine_set.model)
        settings = fingerprint(config, opened, inputs.digest)
        batches: tuple[int, int] | None = engine_set.batches
    else:
        with model_file(config.model) as local:
            opened = open_model(config, local)
            sizes = read_sidecar(local).batches if is_tensorrt_plan(local) else None
        settings = fingerprint(config, opened, inputs.digest)
        batches = sizes and (sizes[0], sizes[-1])
    note_moment(Moment.MODEL_READ)
    return RunModel(opened, settings, batches)


def is_checkpoint(config: InferConfig) -> bool:
    """Return whether the model is a checkpoint, so that the driver imports torch to open it."""
    exported = is_onnx(config.model) or is_tensorrt_plan(config.model)
    return not (exported or is_engine_set(config.model))


def draft_run(inputs: RunInputs, model: RunModel, reporter: Reporter) -> RunDraft:
    """Put images and model together, and reject what does not fit.

    Raises:
        UsageError: the run to resume has other settings, or the model's classes are not the file's.
    """
    config = inputs.config
    if inputs.run:
        run, draft = inputs.run, RunDraft(inputs, model)
        check_resume(run, config, model.settings)
        if inputs.update:
            check_planned(inputs.update, config, run.plan)
        _check_scoring(model, has_truth=run.plan.outputs["has_truth"])
        _check_names(config, run, model.opened.model)
        ids, names = (run.plan.outputs[key] for key in ("category_ids", "category_names"))
        check_limits(run, class_limits(config, ids, names, reporter))
        check_text(config.output, run.plan.records, ids, names)
        see_replaced(config, run, reporter)
        return draft
    if inputs.update:
        check_drafted(inputs.update, config, model.settings)
    dataset, about = inputs.dataset, model.opened.model
    if dataset is None:
        raise ValueError("a new run has images")
    _check_scoring(model, has_truth=dataset.has_truth)
    classes = map_classes(
        about.classes,
        _class_names(config, about),
        about.category_ids,
        dataset.categories,
        dataset.used,
    )
    check_text(config.output, dataset.records, classes.ids, classes.names)
    limits = class_limits(config, classes.ids, classes.names, reporter)
    for note in (*dataset.notes, classes.note):
        reporter.note(note)
    for finding in dataset.findings:
        reporter.warn(finding.text, finding.remedy)
    return RunDraft(inputs, model, classes, limits)


def _check_scoring(model: RunModel, *, has_truth: bool) -> None:
    """Import the package that scores rotated boxes: it would be missed after all detections."""
    if has_truth and model.opened.model.rotated:
        import pycocotools  # noqa: F401


def _class_names(config: InferConfig, model: Model) -> tuple[str, ...] | None:
    """Return the names of the model's classes: those of `--classes` before its own."""
    if config.classes is None:
        return model.class_names
    return read_class_names(config.classes, model.classes)


def _check_names(config: InferConfig, run: RunFolder, model: Model) -> None:
    """Check that `--classes` has the names that a run to resume was begun with.

    With an annotation file they may only have found its categories, whose names the run has.
    """
    if config.classes is None or config.annotations is not None:
        return
    if list(read_class_names(config.classes, model.classes)) != run.plan.outputs["category_names"]:
        raise UsageError(
            f"cannot resume from {config.run_folder}",
            "the run was begun with other names of classes",
            "give the same --classes, or start a new run without --resume",
        )


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
