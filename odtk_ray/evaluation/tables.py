"""The tables of an analysis, as text: a heading, then rows."""

from __future__ import annotations

import numpy as np

from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.evaluation.status import KINDS

Rows = list[tuple[str, ...]]

_CONFUSED = 5  # pairs of classes that are shown


def class_table(analysis: Analysis) -> Rows:
    """Format the classes: COCO's figures, and what they are at their thresholds; `-` for none."""
    head, *rows = analysis.metrics.table()
    table: Rows = [(*head, "precision", "recall", "F1", "threshold")]
    for row, point in zip(rows, analysis.points, strict=True):
        figures = (
            ("-",) * 4
            if point is None
            else tuple(
                f"{value:.3f}"
                for value in (point.precision, point.recall, point.f1, point.threshold)
            )
        )
        table.append((*row, *figures))
    return table


def error_table(analysis: Analysis) -> Rows:
    """Format the kinds of errors: the AP50 that each costs, and how many there are."""
    table: Rows = [("error", "costs AP50", "at thresholds", "at any score")]
    for cost in analysis.errors:
        table.append((cost.kind, f"{cost.ap:.3f}", f"{cost.at_thresholds:,}", f"{cost.count:,}"))
    return table


def size_table(analysis: Analysis) -> Rows:
    """Format the sizes of objects, with what is right and wrong at the thresholds."""
    table: Rows = [("size", "AP", "AR", "boxes", *KINDS)]
    for row in analysis.sizes:
        figures = (f"{value:.3f}" if value >= 0 else "-" for value in (row.ap, row.ar))
        counts = (f"{count:,}" for count in row.counts.tolist())
        table.append((row.name, *figures, f"{row.boxes:,}", *counts))
    return table


def confusion_table(analysis: Analysis) -> Rows:
    """Format the pairs of classes that are confused most; only the heading if none are."""
    cells = analysis.confusion[:-1, :-1] * (1 - np.eye(len(analysis.categories), dtype=np.int64))
    order = np.argsort(-cells, axis=None, kind="stable")[:_CONFUSED]
    names = [category.name for category in analysis.categories]
    table: Rows = [("class", "detected as", "boxes")]
    for place in order.tolist():
        i, j = divmod(place, len(names))
        if cells[i, j]:
            table.append((names[i], names[j], f"{cells[i, j]:,}"))
    return table
