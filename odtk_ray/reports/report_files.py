"""Writes reports into files."""

from __future__ import annotations

import os
from functools import partial

from odtk_ray import storage
from odtk_ray.config import CompareConfig, EvaluateConfig
from odtk_ray.datasets.annotation_file import AnnotatedImages
from odtk_ray.datasets.annotation_paths import image_folder, image_path, is_file_name, leads_out
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.evaluation.comparison import Comparison
from odtk_ray.evaluation.evaluate_files import Evaluation
from odtk_ray.reports.comparison_report import comparison_report
from odtk_ray.reports.content import Content, Detector, Pictures, select_rows
from odtk_ray.reports.evaluation_report import evaluation_report
from odtk_ray.settings import ExifPolicy, Preprocessing


def report_evaluation(config: EvaluateConfig, evaluation: Evaluation) -> None:
    """Write the report of an evaluated file of detections to `config.report`.

    Raises:
        OdtkError: it cannot be written.
    """
    wanted, table = evaluation.wanted, evaluation.table
    name = os.path.basename(config.detections)
    content = Content(
        title=name,
        detectors=[Detector(name, "", evaluation.analysis, partial(select_rows, table))],
        truth=wanted.truth,
        pictures=pictures_of(wanted.images, config.images, config.exif),
        facts=[
            ("Detections", config.detections),
            ("Annotations", config.annotations),
            ("Images", config.images or "not given"),
            ("Boxes", "rotated" if config.rotated_bbox else "upright"),
            ("Thresholds chosen for", str(evaluation.analysis.goal)),
        ],
        remarks=[finding.text for finding in wanted.findings],
    )
    write_report(config.report or "", evaluation_report(content))


def report_comparison(config: CompareConfig, comparison: Comparison) -> None:
    """Write the report of two compared files of detections to `config.report`.

    Args:
        config: the user's settings; with an annotation file.
        comparison: of two files.

    Raises:
        OdtkError: it cannot be written.
    """
    (pair,), wanted = comparison.pairs, comparison.wanted
    if wanted is None or pair.a.analysis is None or pair.b.analysis is None:
        raise ValueError("a comparison without ground truth has no report")
    names = [os.path.basename(detector.name) for detector in (pair.a, pair.b)]
    content = Content(
        title=" and ".join(names),
        detectors=[
            Detector(names[0], "a", pair.a.analysis, partial(select_rows, pair.a.table)),
            Detector(names[1], "b", pair.b.analysis, partial(select_rows, pair.b.table)),
        ],
        truth=wanted.truth,
        pictures=pictures_of(wanted.images, config.images, config.exif),
        facts=[
            ("A", pair.a.name),
            ("B", pair.b.name),
            ("Annotations", config.annotations or ""),
            ("Images", config.images or "not given"),
            ("Boxes", "rotated" if config.rotated_bbox else "upright"),
            ("Draws of images", f"{config.draws:,}"),
            ("Drawn together", config.group_by or "every image by itself"),
            ("Partners", f"IoU {config.iou:g} or more, score {config.score:g} or more"),
        ],
        remarks=[finding.text for finding in wanted.findings],
    )
    write_report(config.report or "", comparison_report(content, pair, comparison.level))


def pictures_of(images: AnnotatedImages, folder: str | None, exif: ExifPolicy) -> Pictures:
    """Say where the pictures of an annotation file are."""
    names = [name or key for name, key in zip(images.names, images.ids, strict=True)]
    prep = Preprocessing(exif=exif)
    if folder is None:
        return Pictures(names, images.sizes, None, prep)
    root = image_folder(folder)

    def path(index: int) -> str | None:
        """Return the path of a picture that may be read."""
        name = images.names[index]
        if not is_file_name(name):
            return None
        try:
            found = image_path(root, name)
        except UsageError:  # it leads out of the folder
            return None
        return None if leads_out(root, found) else found

    return Pictures(names, images.sizes, path, prep)


def write_report(path: str, page: bytes) -> None:
    """Write a report.

    Raises:
        OdtkError: it cannot be written.
    """
    try:
        storage.write_atomic(storage.absolute(path), page)
    except OSError as error:
        raise OdtkError(f"cannot write {path}", error.strerror or str(error)) from error
