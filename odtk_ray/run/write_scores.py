"""Writes what a run with ground truth is worth: its metrics, and the report that was asked for."""

from __future__ import annotations

from odtk_ray.config import InferConfig
from odtk_ray.evaluation.score_run import Scores
from odtk_ray.reporter import RunReporter
from odtk_ray.run.outputs import write_metrics
from odtk_ray.run.pace import Pace
from odtk_ray.run.run_report import write_run_report
from odtk_ray.shards.run_folder import RunFolder


def write_scores(
    config: InferConfig,
    run: RunFolder,
    scores: Scores | None,
    seconds: float,
    pace: Pace | None,
    reporter: RunReporter,
) -> list[str]:
    """Write the metrics and the report of a run, and say what is odd about its ground truth.

    Args:
        config: the user's settings.
        run: with all its shards.
        scores: of the run; None without ground truth.
        seconds: duration of detection.
        pace: of its workers; None for a run that had no image left to do.
        reporter: told what is odd.

    Returns:
        the files, as the outputs were given.

    Raises:
        OdtkError: one of them cannot be written.
    """
    if scores is None:
        if config.report is not None:
            reporter.warn(f"no report: {config.annotations} has no ground truth")
        return []
    for finding in scores.findings:
        reporter.warn(finding.text, finding.remedy)
    if scores.crowded:
        reporter.warn(scores.crowded)
    files = write_metrics(config, scores, run, pace)
    if config.report is not None:
        reporter.stage("writing the report")
        write_run_report(config, run, scores, seconds)
        files.append(config.report)
    return files
