"""The calls that need no model, no pictures and no Ray.

>>> import odtk_ray
>>> evaluation = odtk_ray.evaluate("detections.json", annotations="trees.json")
>>> print(f"{evaluation.analysis.metrics.stats['AP50']:.1f}")
0.4
>>> same = odtk_ray.compare(["detections.json", "detections.json"])
>>> same.pairs[0].matched == same.pairs[0].counted
True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from odtk_ray.config import CompareConfig, EvaluateConfig, StrPath, settings_of
from odtk_ray.reporter import LogReporter, Reporter
from odtk_ray.settings import ExifPolicy

if TYPE_CHECKING:
    from odtk_ray.evaluation.comparison import Comparison
    from odtk_ray.evaluation.evaluate_files import Evaluation


def evaluate(
    detections: StrPath,
    *,
    annotations: StrPath,
    rotated_bbox: bool = False,
    precision: float | None = None,
    recall: float | None = None,
    output: StrPath | None = None,
    thresholds: StrPath | None = None,
    report: StrPath | None = None,
    images: StrPath | None = None,
    exif: ExifPolicy = "ignore",
    reporter: Reporter | None = None,
) -> Evaluation:
    """Evaluate detections against ground truth, without a model and without pictures.

    Args:
        detections: File of detections: .json (as ODTK, or a list of COCO results), .jsonl, .csv,
            .parquet.
        annotations: COCO file with the ground truth of the detections' images.
        rotated_bbox: The boxes are rotated.
        precision: Choose for each class the threshold that reaches this precision with the most
            recall. Default: the best F1.
        recall: Choose for each class the threshold that reaches this recall with the best
            precision. Default: the best F1.
        output: JSON file to write the figures to.
        thresholds: JSON file to write the threshold of each class to, for infer.
        report: HTML file to write a report to, with plots, tables and pictures.
        images: Folder or URI of the annotation file's images, for the pictures of `report`.
            Default: no pictures.
        exif: Whether pictures are turned as their EXIF orientation says; ODTK and COCO's
            annotations ignore it.
        reporter: Told about what is odd; None logs the remarks.

    Returns:
        the detections, the ground truth, and the analysis of the two.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was written.
        OdtkError: a file cannot be written.
    """
    config = EvaluateConfig(**settings_of(EvaluateConfig, locals()))
    from odtk_ray.evaluation.evaluate_files import evaluate as run

    evaluation = run(config, reporter or LogReporter())
    if config.report is not None:
        from odtk_ray.reports.report_files import report_evaluation

        report_evaluation(config, evaluation)
    return evaluation


def compare(
    detections: StrPath | Sequence[StrPath],
    *,
    annotations: StrPath | None = None,
    rotated_bbox: bool = False,
    iou: float = 0.9,
    score: float = 0.3,
    group_by: str | None = None,
    draws: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
    output: StrPath | None = None,
    report: StrPath | None = None,
    images: StrPath | None = None,
    exif: ExifPolicy = "ignore",
    reporter: Reporter | None = None,
) -> Comparison:
    """Compare files of detections with the first of them.

    Args:
        detections: Two or more files of detections: .json (as ODTK, or a list of COCO results),
            .jsonl, .csv, .parquet.
        annotations: COCO file with the ground truth of the detections' images. Default: only
            compare the detections with each other.
        rotated_bbox: The boxes are rotated.
        iou: Least IoU of detections of two files that are partners.
        score: Detections from this score on are counted; their partners may have less.
        group_by: Entry of the annotation file's images; those with equal values are drawn together.
            Default: every image by itself.
        draws: Number of draws of images.
        level: Share of the draws whose difference lies in the interval.
        seed: Seed of the draws.
        output: JSON file to write the comparison to.
        report: HTML file to write a report to, with plots, tables and pictures.
        images: Folder or URI of the annotation file's images, for the pictures of `report`.
            Default: no pictures.
        exif: Whether pictures are turned as their EXIF orientation says; ODTK and COCO's
            annotations ignore it.
        reporter: Told about what is odd; None logs the remarks.

    Returns:
        for each other file how it differs from the first.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was written.
        OdtkError: the file cannot be written.
    """
    config = CompareConfig(**settings_of(CompareConfig, locals()))
    from odtk_ray.evaluation.compare_files import compare as run

    comparison = run(config, reporter or LogReporter())
    if config.report is not None:
        from odtk_ray.reports.report_files import report_comparison

        report_comparison(config, comparison)
    return comparison
