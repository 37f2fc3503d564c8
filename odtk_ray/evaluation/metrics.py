"""The figures of an evaluation: COCO's twelve and one row per class, and their formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odtk_ray.datasets.ground_truth import Category
from odtk_ray.evaluation.matching import THRESHOLDS
from odtk_ray.evaluation.overlap import COCO_LIMIT

# Name: (measure, IoU threshold or None for the mean over all, area range, limit).
STATS = {
    "AP": ("Precision", None, "all", 100),
    "AP50": ("Precision", 0, "all", 100),
    "AP75": ("Precision", 5, "all", 100),
    "APs": ("Precision", None, "small", 100),
    "APm": ("Precision", None, "medium", 100),
    "APl": ("Precision", None, "large", 100),
    "AR1": ("Recall", None, "all", 1),
    "AR10": ("Recall", None, "all", 10),
    "AR100": ("Recall", None, "all", 100),
    "ARs": ("Recall", None, "small", 100),
    "ARm": ("Recall", None, "medium", 100),
    "ARl": ("Recall", None, "large", 100),
}

_HEADING = ("class", "id", "AP", "AP50", "AP75", "AR", "boxes", "detections")


@dataclass(frozen=True)
class ClassMetrics:
    """One row of the per-class table.

    Attributes:
        category: the class.
        ap: mean average precision over the ten IoU thresholds; -1 without boxes to find.
        ap50: average precision at IoU 0.5; -1 without boxes to find.
        ap75: likewise at IoU 0.75.
        ar: mean recall over the ten IoU thresholds, of the best 100 detections of an image.
        boxes: ground truth boxes to find in the evaluated images, crowd regions not counted.
        detections: detections of the class, those beyond the best 100 of an image included.
    """

    category: Category
    ap: float
    ap50: float
    ap75: float
    ar: float
    boxes: int
    detections: int


@dataclass(frozen=True)
class Metrics:
    """The result of an evaluation.

    Attributes:
        images: number of evaluated images.
        stats: COCO's twelve figures by name, AP to ARl, in pycocotools' order; -1 where undefined.
        classes: one row a category, in the order of the file.
        limit: detections of an image and class that count for precision; None where all do.
    """

    images: int
    stats: dict[str, float]
    classes: tuple[ClassMetrics, ...]
    limit: int | None = COCO_LIMIT

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as plain dictionaries and lists."""
        classes = [
            {
                "id": row.category.id,
                "name": row.category.name,
                "AP": row.ap,
                "AP50": row.ap50,
                "AP75": row.ap75,
                "AR": row.ar,
                "boxes": row.boxes,
                "detections": row.detections,
            }
            for row in self.classes
        ]
        return {"images": self.images, "stats": dict(self.stats), "classes": classes}

    def lines(self) -> list[str]:
        """Format the twelve lines of pycocotools' summarize(); `all` detections if none are cut."""
        lines = []
        for name, (measure, threshold, area, limit) in STATS.items():
            iou = "0.50:0.95" if threshold is None else f"{THRESHOLDS[threshold]:.2f}"
            shown = "all" if self.limit is None and measure == "Precision" else str(limit)
            setting = f"IoU={iou:<9} | area={area:>6s} | maxDets={shown:>3s}"
            value = f"{self.stats[name]:.3f}"
            lines.append(f" {'Average ' + measure:<18} (A{measure[0]}) @[ {setting} ] = {value}")
        return lines

    def table(self) -> list[tuple[str, ...]]:
        """Format the per-class table: a heading, then one row per class; `-` if undefined."""
        rows: list[tuple[str, ...]] = [_HEADING]
        for row in self.classes:
            name, key = row.category.name, str(row.category.id)
            figures = (row.ap, row.ap50, row.ap75, row.ar)
            shown = (f"{value:.3f}" if value >= 0 else "-" for value in figures)
            rows.append((name, key, *shown, f"{row.boxes:,}", f"{row.detections:,}"))
        return rows
