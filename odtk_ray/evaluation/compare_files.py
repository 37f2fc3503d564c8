"""Compares files of detections, with ground truth or without."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from odtk_ray import storage
from odtk_ray.config import CompareConfig
from odtk_ray.datasets.annotation_file import AnnotationFile
from odtk_ray.datasets.annotation_paths import existing_image_folder
from odtk_ray.datasets.detection_builder import Universe
from odtk_ray.datasets.detection_files import read_detections
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.id_lookup import OpenLookup
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.evaluation.analysis import Goal
from odtk_ray.evaluation.bootstrap import Bootstrap, Difference
from odtk_ray.evaluation.comparison import (
    Comparison,
    Detector,
    Names,
    compare_pair,
    comparison_document,
)
from odtk_ray.evaluation.evaluate_files import analyse, read_wanted
from odtk_ray.evaluation.overlap import BoxOverlap, Overlap, PolygonOverlap
from odtk_ray.reporter import Reporter
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts, named
from odtk_ray.storage.writable import check_file


def compare(config: CompareConfig, reporter: Reporter) -> Comparison:
    """Compare detectors with the first of them.

    Args:
        config: the user's settings.
        reporter: told what is odd about the files.

    Raises:
        UsageError: a file cannot be used, or written.
        OdtkError: the comparison could not be written after all.
    """
    _check_files(config)
    if config.annotations is None:
        found = _without_truth(config, reporter)
    else:
        found = _with_truth(config, config.annotations, reporter)
    if config.output is not None:
        text = json.dumps(comparison_document(found), indent=2) + "\n"
        try:
            storage.write_atomic(storage.absolute(config.output), text.encode())
        except OSError as error:
            raise OdtkError(
                f"cannot write {config.output}", error.strerror or str(error)
            ) from error
    return found


def _check_files(config: CompareConfig) -> None:
    reads = [NamedFile("detections", path) for path in config.detections]
    reads += named("--annotations", config.annotations)
    reads += named("--images", config.images)
    writes = [*named("--output", config.output), *named("--report", config.report)]
    check_conflicts(reads, writes)
    for file in writes:
        check_file(file.path)
    if config.images is not None:
        existing_image_folder(config.images)


def _with_truth(config: CompareConfig, annotations: str, reporter: Reporter) -> Comparison:
    wanted = read_wanted(
        annotations, reporter, rotated=config.rotated_bbox, group_by=config.group_by
    )
    tables = []
    for path in config.detections:
        table, remarks = read_detections(path, Universe.of(wanted), rotated=config.rotated_bbox)
        for remark in remarks:
            reporter.warn(f"{path}: {remark}")
        tables.append(table)
    truth = wanted.truth
    overlap: Overlap = PolygonOverlap(truth) if config.rotated_bbox else BoxOverlap(truth)
    detectors = [
        Detector(path, table, analyse(wanted, table, [overlap], Goal()))
        for path, table in zip(config.detections, tables, strict=True)
    ]
    drawn = Bootstrap(
        truth,
        tables,
        categories=len(wanted.categories),
        groups=wanted.images.groups,
        draws=config.draws,
        seed=config.seed,
        overlap=overlap,
    )
    differences = [drawn.difference(0, i, config.level) for i in range(1, len(tables))]
    return _compared(config, detectors, differences, _names(wanted), wanted)


def _names(wanted: AnnotationFile) -> Names:
    images = wanted.images
    labels = [name or key for name, key in zip(images.names, images.ids, strict=True)]
    return Names(labels, [category.name for category in wanted.categories])


def _without_truth(config: CompareConfig, reporter: Reporter) -> Comparison:
    images, categories = OpenLookup(), OpenLookup()
    universe = Universe(images, categories)
    tables = [
        read_detections(path, universe, rotated=config.rotated_bbox)[0]
        for path in config.detections
    ]
    _check_common(config, tables, reporter)
    detectors = [
        Detector(path, table, None) for path, table in zip(config.detections, tables, strict=True)
    ]
    names = Names(images.texts, categories.texts)
    return _compared(config, detectors, [[]] * (len(tables) - 1), names)


def _check_common(
    config: CompareConfig, tables: Sequence[DetectionTable], reporter: Reporter
) -> None:
    first = tables[0]
    for path, table in zip(config.detections[1:], tables[1:], strict=True):
        if not len(table) or not len(first):
            continue
        if not np.isin(table.image, first.image).any():
            raise UsageError(
                f"{config.detections[0]} and {path} have no image in common",
                hint="both must name images alike, by image_id or by file_name",
            )
        if not np.isin(table.category, first.category).any():
            reporter.warn(
                f"{config.detections[0]} and {path} have no category in common, so nothing "
                "matches: do both name categories alike, by category_id or by category?"
            )


def _compared(
    config: CompareConfig,
    detectors: Sequence[Detector],
    differences: Sequence[Sequence[Difference]],
    names: Names,
    wanted: AnnotationFile | None = None,
) -> Comparison:
    first = detectors[0]
    pairs = [
        compare_pair(
            first, other, rows, images=len(names.images), iou=config.iou, score=config.score
        )
        for other, rows in zip(detectors[1:], differences, strict=True)
    ]
    return Comparison(names, pairs, config.level, wanted)
