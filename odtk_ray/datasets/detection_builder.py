"""Collects detections as they are read, and looks up their images and categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.annotation_file import AnnotationFile
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.id_lookup import UNKNOWN, IdLookup
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.problems import shown
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted


@dataclass(frozen=True)
class Key:
    """How a column names images or categories.

    Attributes:
        column: its name, for messages.
        by_name: whether it has file names, or names of categories, not ids.
        plain: whether ids are text in a table, where 17 and "17" look alike.
    """

    column: str
    by_name: bool = False
    plain: bool = False


class _Lookup:
    """The images or categories of an annotation file, by id and by name."""

    def __init__(self, ids: Sequence[str], names: Sequence[str]) -> None:
        self._ids = IdLookup(ids)
        self._names = {name: place for place, name in enumerate(names) if name}
        self.unknown = 0
        self.first: object = None

    def find(self, key: Key, values: Sequence[Any]) -> NDArray[np.int64]:
        if key.by_name:
            found = np.array([self._names.get(value, UNKNOWN) for value in values], np.int64)
        else:
            find: Callable[[Sequence[Any]], NDArray[np.int64]]
            find = self._ids.find_plain if key.plain else self._ids.find
            found = find(values)
        return found

    def count(self, key: Key, values: Sequence[Any], unknown: NDArray[np.int64]) -> None:
        if len(unknown) and not self.unknown:
            value = values[int(unknown[0])]
            self.first = f"{key.column} {value if key.plain else shown(value)}"
        self.unknown += len(unknown)


class DetectionBuilder:
    """Makes a table of detections; those of unknown images and categories are left out.

    Args:
        path: of the detections, for messages.
        wanted: the annotation file that they are compared with.
        rotated: whether boxes have theta.
    """

    def __init__(self, path: str, wanted: AnnotationFile, *, rotated: bool = False) -> None:
        self._path, self._wanted, self._numbers = path, wanted, 5 if rotated else 4
        self._images = _Lookup(wanted.images.ids, wanted.images.names)
        categories = wanted.categories
        self._categories = _Lookup(
            [id_text(c.id) for c in categories], [c.name for c in categories]
        )
        self._parts: list[DetectionTable] = []
        self._rows = 0

    def add(
        self,
        images: tuple[Key, Sequence[Any]],
        categories: tuple[Key, Sequence[Any]],
        score: NDArray[np.float64],
        bbox: NDArray[np.float64],
    ) -> None:
        """Add detections.

        Args:
            images: how images are named, and n names.
            categories: likewise.
            score: float64 [n].
            bbox: float64 [n, 4], or [n, 5] with theta.

        Raises:
            UsageError: boxes have another number of columns, or a number is not finite.
        """
        self._check(score, bbox)
        image, category = self._images.find(*images), self._categories.find(*categories)
        self._images.count(*images, np.flatnonzero(image == UNKNOWN))
        self._categories.count(
            *categories, np.flatnonzero((category == UNKNOWN) & (image != UNKNOWN))
        )
        rows = np.flatnonzero((image != UNKNOWN) & (category != UNKNOWN))
        self._parts.append(DetectionTable(image[rows], category[rows], score[rows], bbox[rows]))
        self._rows += len(score)

    def build(self) -> tuple[DetectionTable, list[str]]:
        """Return the table, and a remark for what was left out.

        Raises:
            UsageError: there are detections, and all of them are of unknown images or categories.
        """
        truth = self._wanted.path
        remarks = []
        for lookup, what in ((self._images, "images"), (self._categories, "categories")):
            if not lookup.unknown:
                continue
            remark = (
                f"{counted(lookup.unknown, 'detection is', 'detections are')} of {what} that "
                f"{truth} does not have, the first has {lookup.first}"
            )
            if lookup.unknown == self._rows:
                hint = f"give the annotation file that {self._path} belongs to"
                raise UsageError(f"cannot use {self._path}", f"all its {remark}", hint)
            remarks.append(f"left out: {remark}")
        none = np.empty(0, np.int64)
        empty = DetectionTable(none, none, np.empty(0), np.empty((0, self._numbers)))
        parts = [empty, *self._parts]
        columns = {name: np.concatenate([getattr(part, name) for part in parts])
                   for name in ("image", "category", "score", "bbox")}  # fmt: skip
        order = np.argsort(columns["image"], kind="stable")
        return DetectionTable(**{name: column[order] for name, column in columns.items()}), remarks

    def _check(self, score: NDArray[np.float64], bbox: NDArray[np.float64]) -> None:
        if bbox.shape[1] != self._numbers:
            hint = "add --rotated-bbox" if bbox.shape[1] == 5 else "leave out --rotated-bbox"
            raise UsageError(
                f"cannot use {self._path}",
                f"its boxes have {bbox.shape[1]} numbers, not {self._numbers}",
                hint,
            )
        for name, bad in (("score", ~np.isfinite(score)), ("bbox", ~np.isfinite(bbox).all(axis=1))):
            if bad.any():
                row = self._rows + int(np.argmax(bad)) + 1
                raise UsageError(
                    f"cannot use {self._path}", f"detection {row:,} has no finite {name}"
                )
