"""Evaluates a file of detections against an annotation file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odtk_ray import storage
from odtk_ray.config import EvaluateConfig
from odtk_ray.datasets.annotation_file import AnnotationFile, read_annotation_file
from odtk_ray.datasets.annotation_paths import existing_image_folder
from odtk_ray.datasets.detection_builder import Universe
from odtk_ray.datasets.detection_files import read_detections
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.evaluation.analyser import Analyser
from odtk_ray.evaluation.analysis import Analysis, Goal
from odtk_ray.evaluation.metrics_document import metrics_document
from odtk_ray.evaluation.overlap import Overlap, overlaps_of
from odtk_ray.evaluation.score_run import crowded
from odtk_ray.evaluation.thresholds_file import thresholds_document
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts, named
from odtk_ray.storage.writable import check_file


@dataclass(frozen=True)
class Evaluation:
    """A file of detections, evaluated.

    Attributes:
        wanted: the annotation file: images, categories, ground truth.
        table: the detections; row i is what `analysis.detections` has at i.
        analysis: figures, errors, thresholds; its images are those of `wanted`.
    """

    wanted: AnnotationFile
    table: DetectionTable
    analysis: Analysis


def evaluate(config: EvaluateConfig, reporter: Reporter) -> Evaluation:
    """Evaluate detections, and write the files that were asked for.

    All images of the annotation file count, those without detections too.

    Args:
        config: the user's settings.
        reporter: told what is odd about the files.

    Raises:
        UsageError: a file cannot be used, or written; nothing was written.
        OdtkError: a file could not be written after all.
    """
    _check_files(config)
    rotated = config.rotated_bbox
    wanted = read_wanted(config.annotations, reporter, rotated=rotated)
    if rotated:
        _check_sizes(wanted)
    table, remarks = read_detections(config.detections, Universe.of(wanted), rotated=rotated)
    for remark in (*remarks, *filter(None, [crowded(wanted.truth)])):
        reporter.warn(remark)
    overlaps = overlaps_of(wanted.truth, wanted.images.sizes if rotated else None)
    analysis = analyse(wanted, table, overlaps, _goal(config))
    if analysis.goal.figure != "F1":
        _say_unreached(analysis, reporter)
    _write(config, analysis)
    return Evaluation(wanted, table, analysis)


def read_wanted(
    annotations: str, reporter: Reporter, *, rotated: bool, group_by: str | None = None
) -> AnnotationFile:
    """Read an annotation file, and say what is odd about it.

    Raises:
        UsageError: it cannot be used.
    """
    wanted = read_annotation_file(annotations, rotated=rotated, group_by=group_by)
    for finding in wanted.findings:
        reporter.warn(finding.text, finding.remedy)
    return wanted


def analyse(
    wanted: AnnotationFile, table: DetectionTable, overlaps: Sequence[Overlap], goal: Goal
) -> Analysis:
    """Analyse the detections of an annotation file; all of its images count."""
    images = np.arange(len(wanted.images))
    analyser = Analyser(wanted.truth, wanted.categories, images, overlaps, goal)
    counts = np.bincount(table.image, minlength=len(images))
    analyser.add(images, counts, table.score, table.category.astype(np.int32), table.bbox)
    return analyser.result()


def _check_sizes(wanted: AnnotationFile) -> None:
    unknown = np.flatnonzero((wanted.images.sizes == 0).any(axis=1))
    if len(unknown):
        raise UsageError(
            f"{wanted.path} does not say how large its images are",
            f"image {wanted.images.ids[unknown[0]]} has no width and height, which the masks of "
            "rotated boxes need",
            "add width and height, in pixels, to its `images`",
        )


def _goal(config: EvaluateConfig) -> Goal:
    if config.precision is not None:
        return Goal("precision", config.precision)
    return Goal() if config.recall is None else Goal("recall", config.recall)


def _say_unreached(analysis: Analysis, reporter: Reporter) -> None:
    """Say which classes with boxes to find have no threshold that reaches the goal."""
    rows = zip(analysis.metrics.classes, analysis.points, strict=True)
    names = [row.category.name for row, point in rows if row.boxes and point is None]
    if names:
        reporter.warn(
            f"{counted(len(names), 'class does', 'classes do')} not reach {analysis.goal} at any "
            f"threshold, the first is {names[0]}: no threshold is chosen for "
            f"{'it' if len(names) == 1 else 'them'}"
        )


def _check_files(config: EvaluateConfig) -> None:
    reads = [
        NamedFile("DETECTIONS", config.detections),
        NamedFile("--annotations", config.annotations),
        *named("--images", config.images),
    ]
    writes = [
        *named("--output", config.output),
        *named("--thresholds", config.thresholds),
        *named("--report", config.report),
    ]
    check_conflicts(reads, writes)
    for file in writes:
        check_file(file.path)
    if config.images is not None:
        existing_image_folder(config.images)


def _write(config: EvaluateConfig, analysis: Analysis) -> None:
    documents: dict[str, Callable[[Analysis], Any]] = {}
    if config.output is not None:
        documents[config.output] = metrics_document
    if config.thresholds is not None:
        documents[config.thresholds] = thresholds_document
    for path, document in documents.items():
        text = json.dumps(document(analysis), indent=2) + "\n"
        try:
            storage.write_atomic(storage.absolute(path), text.encode())
        except OSError as error:
            raise OdtkError(f"cannot write {path}", error.strerror or str(error)) from error
