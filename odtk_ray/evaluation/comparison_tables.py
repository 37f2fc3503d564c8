"""A comparison in words and tables."""

from __future__ import annotations

import os

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.evaluation.bootstrap import Difference
from odtk_ray.evaluation.comparison import Comparison, Detector, Names, Pair
from odtk_ray.evaluation.tables import Rows
from odtk_ray.plural import counted

_IMAGES, _ALONE = 10, 5  # how many are shown


def figure_table(pair: Pair, level: float) -> Rows:
    """Format AP, AP50 and AP75 of both, and the intervals of their differences."""
    rows = [_row(row.name, row) for row in pair.figures]
    return [("", "a", "b", "b - a", f"{level:.0%} interval"), *rows]


def class_table(pair: Pair, names: Names) -> Rows:
    """Format the AP of each class that has boxes to find; `*` marks what is more than chance."""
    table: Rows = [("class", "a", "b", "b - a", "interval", "")]
    for name, row in zip(names.categories, pair.classes, strict=True):
        if row.a >= 0:
            table.append((*_row(name, row), "" if row.by_chance else "*"))
    return table


def _row(name: str, row: Difference) -> tuple[str, ...]:
    interval = f"{row.low:+.4f} to {row.high:+.4f}"
    return name, f"{row.a:.4f}", f"{row.b:.4f}", f"{row.b - row.a:+.4f}", interval


def verdict(pair: Pair, level: float) -> str:
    """Say whether the difference of AP is more than chance."""
    row, a, b = pair.figures[0], shown(pair.a), shown(pair.b)
    if row.a < 0:
        return "there are no boxes to find: AP is not defined"
    interval = f"the {level:.0%} interval of the difference is {row.low:+.4f} to {row.high:+.4f}"
    if row.low == row.high == 0:
        return f"{a} and {b} have the same AP in every draw of images"
    if row.by_chance:
        return f"the difference of AP may be chance: {interval}, and 0 lies in it"
    better, worse = (b, a) if row.b > row.a else (a, b)
    return f"{better} is better than {worse} by more than chance: {interval}"


def shown(detector: Detector) -> str:
    """Return the name of a detector's file without its folder."""
    return os.path.basename(detector.name) or detector.name


def match_line(pair: Pair) -> str:
    """Say how many detections match."""
    share = f" ({pair.matched / pair.counted:.2%})" if pair.counted else ""
    return f"{pair.matched:,} of {counted(pair.counted, 'detection')} matched{share}"


def alone_table(pair: Pair, names: Names) -> Rows:
    """Format the best detections of each that the other lacks; only the heading if none do."""
    table: Rows = [("only in", "category", "score", "image")]
    for label, detector, rows in (("a", pair.a, pair.only_a), ("b", pair.b, pair.only_b)):
        for row in rows[:_ALONE].tolist():
            table.append((label, *_detection(detector.table, row, names)))
        if len(rows) > _ALONE:
            table.append((label, f"and {len(rows) - _ALONE:,} more", "", ""))
    return table


def _detection(table: DetectionTable, row: int, names: Names) -> tuple[str, str, str]:
    category, image = names.categories[table.category[row]], names.images[table.image[row]]
    return category, f"{table.score[row]:.3f}", image


def image_table(found: Comparison, pair: Pair) -> Rows:
    """Format the images that differ most; only the heading if none do."""
    if pair.a.analysis is None or pair.b.analysis is None:
        rows: Rows = [("image", "detections without partner")]
        return rows + [
            (found.names.images[i], f"{pair.by_image[i]:,}") for i in pair.images[:_IMAGES].tolist()
        ]
    table: Rows = [("image", *(f"{k} {w}" for k in "ab" for w in ("right", "wrong", "missed")))]
    for i in pair.images[:_IMAGES].tolist():
        cells = []
        for detector in (pair.a.analysis, pair.b.analysis):
            right, *wrong, missed = detector.images[i].tolist()
            cells += [f"{right:,}", f"{sum(wrong):,}", f"{missed:,}"]
        table.append((found.names.images[i], *cells))
    return table
