"""The file of thresholds by class, which `evaluate` writes and `infer` reads."""

from __future__ import annotations

from typing import Any

from odtk_ray.evaluation.analysis import Analysis

SCHEMA, VERSION = "odtk-ray/thresholds", 1


def thresholds_document(analysis: Analysis) -> dict[str, Any]:
    """Return the thresholds of an analysis as plain dictionaries and lists."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "thresholds_for": str(analysis.goal),
        "classes": [
            {
                "id": category.id,
                "name": category.name,
                "threshold": point.threshold,
                "precision": point.precision,
                "recall": point.recall,
            }
            for category, point in zip(analysis.categories, analysis.points, strict=True)
            if point is not None
        ],
    }
