"""The file of thresholds by class, which `evaluate` writes and `infer` reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.typed_json import Range, WrongJsonError, parse_json, typed, typed_versioned

FORMAT = 1


@dataclass(frozen=True)
class ClassThreshold:
    """The threshold of one class, and what the class was at it.

    Attributes:
        id: of the category.
        name: of the category.
        threshold: scores must be greater than this.
        precision: right detections of those that count.
        recall: boxes that were found, of those to find.
    """

    id: int | str
    name: str
    threshold: Annotated[float, Range(0, 1)]
    precision: float
    recall: float


@dataclass(frozen=True)
class Thresholds:
    """The content of the file.

    Attributes:
        thresholds_for: what they were chosen for, in words.
        classes: those that have a threshold.
    """

    thresholds_for: str
    classes: tuple[ClassThreshold, ...]


def thresholds_document(analysis: Analysis) -> dict[str, Any]:
    """Return the thresholds of an analysis as plain dictionaries and lists."""
    classes = [
        {
            "id": category.id,
            "name": category.name,
            "threshold": min(max(point.threshold, 0.0), 1.0),
            "precision": point.precision,
            "recall": point.recall,
        }
        for category, point in zip(analysis.categories, analysis.points, strict=True)
        if point is not None
    ]
    return {"format": FORMAT, "thresholds_for": str(analysis.goal), "classes": classes}


def read_thresholds(path: str) -> Thresholds:
    """Read a file of thresholds.

    Raises:
        UsageError: it cannot be read, or is not such a file.
    """
    try:
        return typed(typed_versioned(parse_json(storage.read_bytes(path)), FORMAT), Thresholds)
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    except WrongJsonError as error:
        raise UsageError(
            f"{path} is not a file of thresholds",
            str(error),
            "odtk-ray evaluate writes one with --thresholds",
        ) from error
