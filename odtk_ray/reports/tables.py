"""The tables of a report: what the template writes, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odtk_ray.evaluation.analysis import Analysis, OperatingPoint
from odtk_ray.evaluation.bootstrap import Difference
from odtk_ray.evaluation.status import KINDS

_CONFUSED = 25  # classes that the matrix shows at most
_HEATS = 9  # shades of its cells

_MEANINGS = {
    "class": "right place, wrong class",
    "location": "right class, IoU 0.1 to 0.5",
    "both": "wrong class, IoU 0.1 to 0.5",
    "duplicate": "its box is found by a better one",
    "background": "on nothing",
    "missed": "no detection, right or nearly right",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        order: what the table is sorted by.
    """

    text: str
    order: float | str

    @classmethod
    def share(cls, value: float | None) -> Cell:
        """Write a figure from 0 to 1; None and less than 0 are unknown."""
        if value is None or value < 0:
            return cls("–", -1)
        return cls(f"{value:.3f}", round(value, 6))

    @classmethod
    def signed(cls, value: float) -> Cell:
        """Write a difference of figures."""
        return cls(f"{value:+.3f}", round(value, 6))

    @classmethod
    def count(cls, value: int) -> Cell:
        """Write a number of things."""
        return cls(f"{value:,}", value)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        heading: of its columns; the first is that of the rows' names.
        rows: name of each row, then its cells.
    """

    heading: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def class_table(analysis: Analysis) -> Table:
    """Make the table of classes: COCO's figures, and what they are at their thresholds."""
    heading = ("Class", "AP", "AP50", "AP75", "AR", "Boxes", "Detections",
               "Threshold", "Precision", "Recall", "F1")  # fmt: skip
    rows = []
    for row, point in zip(analysis.metrics.classes, analysis.points, strict=True):
        figures = (Cell.share(value) for value in (row.ap, row.ap50, row.ap75, row.ar))
        counts = (Cell.count(row.boxes), Cell.count(row.detections))
        rows.append((row.category.name, (*figures, *counts, *_at_threshold(point))))
    return Table(heading, rows)


def size_table(analysis: Analysis) -> Table:
    """Make the table of object sizes."""
    heading = ("Size", "AP", "AR", "Boxes", *(kind.capitalize() for kind in KINDS))
    rows = [
        (
            row.name,
            (Cell.share(row.ap), Cell.share(row.ar), Cell.count(row.boxes),
             *(Cell.count(count) for count in row.counts.tolist())),
        )
        for row in analysis.sizes
    ]  # fmt: skip
    return Table(heading, rows)


@dataclass(frozen=True)
class ErrorRow:
    """A kind of error.

    Attributes:
        kind: its name.
        meaning: in words.
        cost: what it costs of AP50.
        share: of the costliest, from 0 to 1.
        counts: at the chosen thresholds, and at any score.
    """

    kind: str
    meaning: str
    cost: float
    share: float
    counts: tuple[int, int]


def error_rows(analysis: Analysis) -> list[ErrorRow]:
    """Make the table of errors."""
    most = max(0.01, *(error.ap for error in analysis.errors))
    return [
        ErrorRow(
            error.kind,
            _MEANINGS[error.kind],
            error.ap,
            error.ap / most,
            (error.at_thresholds, error.count),
        )
        for error in analysis.errors
    ]


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix, of the classes that are confused most.

    Attributes:
        names: of the columns: classes, the sum of the others if some are left out, nothing.
        rows: name of each row, then count and shade (0 to 9) of its cells, and whether the cell is
            what should be.
        left_out: classes that are summed up.
    """

    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[int, int, bool]]]]
    left_out: int


def confusion(analysis: Analysis) -> Confusion:
    """Make the confusion matrix of a report."""
    cells = analysis.confusion
    n = len(cells) - 1
    wrong = cells * (1 - np.eye(n + 1, dtype=np.int64))
    worst = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1))[:n], kind="stable")
    shown = np.sort(worst[:_CONFUSED])
    place = np.full(n + 1, len(shown))
    place[shown] = np.arange(len(shown))
    side = len(shown) + (2 if len(shown) < n else 1)
    place[n] = side - 1
    summed = np.zeros((side, side), np.int64)
    np.add.at(summed, (place[:, None], place[None, :]), cells)
    names = [analysis.categories[i].name for i in shown]
    names += [f"{n - len(shown)} other classes"] if len(shown) < n else []
    total = np.maximum(summed.sum(axis=1, keepdims=True), 1)
    heat = np.ceil(summed / total * _HEATS).astype(np.int64)
    rows = [
        (name, [(int(summed[i, j]), int(heat[i, j]), i == j) for j in range(side)])
        for i, name in enumerate([*names, "nothing there"])
    ]
    return Confusion([*names, "not detected"], rows, n - len(shown))


def difference_table(heading: str, names: Sequence[str], rows: Sequence[Difference]) -> Table:
    """Make a table of figures of two detectors, without rows that are not defined.

    Args:
        heading: of the first column.
        names: of the rows.
        rows: the figures.
    """
    columns = (heading, "A", "B", "B - A", "From", "To", "More than chance")
    return Table(
        columns,
        [
            (name, (Cell.share(row.a), Cell.share(row.b), Cell.signed(row.b - row.a),
                    Cell.signed(row.low), Cell.signed(row.high),
                    Cell("" if row.by_chance else "yes", 0 if row.by_chance else 1)))
            for name, row in zip(names, rows, strict=True)
            if row.a >= 0
        ],
    )  # fmt: skip


def _at_threshold(point: OperatingPoint | None) -> tuple[Cell, ...]:
    if point is None:
        return (Cell.share(None),) * 4
    values = (point.threshold, point.precision, point.recall, point.f1)
    return tuple(Cell.share(value) for value in values)
