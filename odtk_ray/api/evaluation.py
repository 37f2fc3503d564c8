"""The calls that need no model, no pictures and no Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odtk_ray.config import EvaluateConfig, settings_of
from odtk_ray.reporter import LogReporter, Reporter

from odtk_ray.settings import ExifPolicy

if TYPE_CHECKING:
    from odtk_ray.evaluation.evaluate_files import Evaluation


def evaluate(
    detections: str,
    *,
    annotations: str,
    rotated_bbox: bool = False,
    precision: float | None = None,
    recall: float | None = None,
    output: str | None = None,
    thresholds: str | None = None,
    report: str | None = None,
    images: str | None = None,
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
        exif: Whether pictures are turned as their EXIF orientation says; ODTK and COCO's
            annotations ignore it.
        reporter: Told about what is odd; None logs the remarks.

    Returns:
        the detections, the ground truth, and the analysis of the two.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was written.
        OdtkError: a file cannot be written.
    """
    config = EvaluateConfig(**settings_of(locals()))
    from odtk_ray.evaluation.evaluate_files import evaluate as run

    evaluation = run(config, reporter or LogReporter())
    if config.report is not None:
        from odtk_ray.reports.report_files import report_evaluation

        report_evaluation(config, evaluation)
    return evaluation
