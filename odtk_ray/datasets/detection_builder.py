"""Collects detections as they are read, and looks up their images and categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.annotation_file import AnnotationFile
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.id_lookup import UNKNOWN, Key, KnownLookup, Lookup
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.problems import shown
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted


@dataclass(frozen=True)
class Universe:
    """The images and categories that detections may be of.

    Attributes:
        images: how they are looked up.
        categories: likewise.
        path: the annotation file, for messages; empty where anything may be named.
        names: of its categories.
    """

    images: Lookup
    categories: Lookup
    path: str = ""
    names: Sequence[str] = ()

    @classmethod
    def of(cls, wanted: AnnotationFile) -> Universe:
        """Return what an annotation file has."""
        kinds = wanted.categories
        return cls(
            KnownLookup(wanted.images.ids, wanted.images.names),
            KnownLookup([id_text(kind.id) for kind in kinds], [kind.name for kind in kinds]),
            wanted.path,
            [kind.name for kind in kinds],
        )


@dataclass
class _Unknown:
    """Counts what is of no known image or category, and remembers the first."""

    count: int = 0
    first: str = ""

    def add(self, key: Key, values: Sequence[Any], rows: NDArray[np.int64]) -> None:
        if len(rows) and not self.count:
            value = values[int(rows[0])]
            self.first = f"{key.column} {value if key.plain else shown(value)}"
        self.count += len(rows)


class DetectionBuilder:
    """Makes a table of detections; those of unknown images and categories are left out.

    Args:
        path: of the detections, for messages.
        universe: the images and categories that they may be of.
        rotated: whether boxes have theta.
    """

    def __init__(self, path: str, universe: Universe, *, rotated: bool = False) -> None:
        self._path, self._universe, self._numbers = path, universe, 5 if rotated else 4
        self._images, self._categories = _Unknown(), _Unknown()
        self._parts: list[DetectionTable] = []
        self._rows = 0
        self._renamed = ""

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
        image = self._universe.images.find(*images)
        category = self._universe.categories.find(*categories)
        self._images.add(*images, np.flatnonzero(image == UNKNOWN))
        self._categories.add(
            *categories, np.flatnonzero((category == UNKNOWN) & (image != UNKNOWN))
        )
        rows = np.flatnonzero((image != UNKNOWN) & (category != UNKNOWN))
        self._parts.append(DetectionTable(image[rows], category[rows], score[rows], bbox[rows]))
        self._rows += len(score)

    def compare_categories(self, entries: Sequence[Any]) -> None:
        """Look for categories that the file of detections calls by another name.

        Args:
            entries: its own `categories`.
        """
        if not self._universe.path:
            return
        named = [e for e in entries if isinstance(e, dict) and isinstance(e.get("name"), str)]
        places = self._universe.categories.find(Key("id"), [entry.get("id") for entry in named])
        for entry, place in zip(named, places.tolist(), strict=True):
            name = entry["name"] if place == UNKNOWN else self._universe.names[place]
            if name != entry["name"]:
                self._renamed = (
                    f"category {shown(entry['id'])} is {entry['name']} in {self._path} and {name} "
                    f"in {self._universe.path}: the ids count"
                )
                return

    def build(self) -> tuple[DetectionTable, list[str]]:
        """Return the table, and a remark for what was left out.

        Raises:
            UsageError: there are detections, and all of them are of unknown images or categories.
        """
        truth = self._universe.path
        remarks = [self._renamed] if self._renamed else []
        for unknown, what in ((self._images, "images"), (self._categories, "categories")):
            if not unknown.count:
                continue
            remark = (
                f"{counted(unknown.count, 'detection is', 'detections are')} of {what} that "
                f"{truth} does not have, the first has {unknown.first}"
            )
            if unknown.count == self._rows:
                hint = f"give the annotation file that {self._path} belongs to"
                raise UsageError(f"cannot use {self._path}", f"all its {remark}", hint)
            remarks.append(f"left out: {remark}")
        if self._rows and self._images.count + self._categories.count == self._rows:
            raise UsageError(
                f"cannot use {self._path}",
                f"all its {counted(self._rows, 'detection is', 'detections are')} left out",
                "; ".join(remarks),
            )
        none = np.empty(0, np.int64)
        empty = DetectionTable(none, none, np.empty(0), np.empty((0, self._numbers)))
        parts = [empty, *self._parts]
        columns = {name: np.concatenate([getattr(part, name) for part in parts])
                   for name in ("image", "category", "score", "bbox")}  # fmt: skip
        order = np.argsort(columns["image"], kind="stable")
        return DetectionTable(**{name: column[order] for name, column in columns.items()}), remarks

    def _check(self, score: NDArray[np.float64], bbox: NDArray[np.float64]) -> None:
        if bbox.shape[1] != self._numbers:
            hints = {(5, 4): "add --rotated-bbox", (4, 5): "leave out --rotated-bbox"}
            raise UsageError(
                f"cannot use {self._path}",
                f"its boxes have {bbox.shape[1]} numbers, not {self._numbers}",
                hints.get((bbox.shape[1], self._numbers), ""),
            )
        for name, bad in (("score", ~np.isfinite(score)), ("bbox", ~np.isfinite(bbox).all(axis=1))):
            if bad.any():
                row = self._rows + int(np.argmax(bad)) + 1
                raise UsageError(
                    f"cannot use {self._path}", f"detection {row:,} has no finite {name}"
                )
