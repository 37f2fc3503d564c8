"""The report of one detector against ground truth."""

from __future__ import annotations

import numpy as np

from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.evaluation.status import KINDS
from odtk_ray.reports import plots
from odtk_ray.reports.chosen_images import choose_images
from odtk_ray.reports.content import Content
from odtk_ray.reports.galleries import Galleries, fill_report
from odtk_ray.reports.page import render
from odtk_ray.reports.page_data import page_data
from odtk_ray.reports.tables import class_table, confusion, error_rows, size_table


def evaluation_report(content: Content) -> bytes:
    """Make the report, in UTF-8.

    It has at most 200 pictures and 20 MB; fewer or smaller pictures where they would take more.
    """
    (detector,) = content.detectors
    worst, best = choose_images(detector.analysis.images)
    groups = [("Worst images", worst), ("Best images", best)]
    return fill_report(content, groups, lambda galleries: _render(content, galleries))


def _render(content: Content, galleries: Galleries) -> bytes:
    analysis = content.detectors[0].analysis
    return render(
        "evaluation.html",
        content=content,
        analysis=analysis,
        totals=_totals(analysis),
        lines=plots.Lines.of(analysis.curves),
        plot=plots,
        classes=class_table(analysis),
        errors=error_rows(analysis),
        sizes=size_table(analysis),
        confusion=confusion(analysis),
        galleries=galleries,
        data=page_data(content.detectors),
    )


def _totals(analysis: Analysis) -> dict[str, float]:
    """Sum up all images at the chosen thresholds."""
    counts = analysis.images.sum(axis=0, dtype=np.int64).tolist()
    right, missed = counts[0], counts[KINDS.index("missed")]
    wrong = sum(counts) - right - missed
    return {
        "right": right,
        "wrong": wrong,
        "missed": missed,
        "precision": right / max(right + wrong, 1),
        "recall": right / max(right + missed, 1),
        "f1": 2 * right / max(2 * right + wrong + missed, 1),
    }
