"""The numbers that a report's script computes with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.reports.content import Detector


def page_data(detectors: Sequence[Detector]) -> str:
    """Write the curves and thresholds of each detector's classes as JSON for a <script> element."""
    return script_json([_detector(detector.analysis) for detector in detectors])


def script_json(value: Any) -> str:
    """Write JSON that can stand in a <script> element: nothing in it ends the element."""
    text = json.dumps(value, separators=(",", ":"))  # only ASCII, so U+2028 is escaped too
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _detector(analysis: Analysis) -> dict[str, Any]:
    curves = analysis.curves
    return {
        "scores": curves.scores.tolist(),
        "classes": [
            {
                "right": curves.right[c].tolist(),
                "wrong": curves.wrong[c].tolist(),
                "positives": int(curves.positives[c]),
                "curve": curves.precision[c].round(3).tolist(),
                "own": None if point is None else point.threshold,
                "ownRight": 0 if point is None else point.right,
                "ownWrong": 0 if point is None else point.wrong,
            }
            for c, point in enumerate(analysis.points)
        ],
    }
