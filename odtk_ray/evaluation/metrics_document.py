"""The metrics file: an analysis as JSON. docs/metrics_file.md describes its keys."""

from __future__ import annotations

from typing import Any

import numpy as np

from odtk_ray.evaluation.analysis import Analysis, OperatingPoint
from odtk_ray.evaluation.status import KINDS

FORMAT = 1


def metrics_document(analysis: Analysis) -> dict[str, Any]:
    """Return an analysis as plain dictionaries and lists."""
    document: dict[str, Any] = {"format": FORMAT} | analysis.metrics.to_json()
    document["thresholds_for"] = str(analysis.goal)
    for entry, point in zip(document["classes"], analysis.points, strict=True):
        entry.update(_at_threshold(point))
    document["errors"] = {
        cost.kind: {"count": cost.count, "at_thresholds": cost.at_thresholds, "AP50": cost.ap}
        for cost in analysis.errors
    }
    document["errors_base"] = analysis.error_base
    document["sizes"] = {
        row.name: {"boxes": row.boxes, "AP": row.ap, "AR": row.ar}
        | dict(zip(KINDS, row.counts.tolist(), strict=True))
        for row in analysis.sizes
    }
    document["confusion"] = _confusion(analysis)
    if analysis.exact is not None:
        document["exact"] = analysis.exact.to_json()
    return document


def _at_threshold(point: OperatingPoint | None) -> dict[str, float | None]:
    names = ("threshold", "precision", "recall")
    values = {name: None if point is None else getattr(point, name) for name in names}
    return values | {"F1": None if point is None else point.f1}


def _confusion(analysis: Analysis) -> list[dict[str, Any]]:
    """List the cells that are not zero; null stands for no box, or no detection."""
    ids = [*(category.id for category in analysis.categories), None]
    cells = analysis.confusion
    return [
        {"truth": ids[i], "detected": ids[j], "count": int(cells[i, j])}
        for i, j in np.argwhere(cells).tolist()
    ]
