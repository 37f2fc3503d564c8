"""The columns of tables of detections, by the names that programs give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from odtk_ray.datasets.detection_builder import DetectionBuilder
from odtk_ray.datasets.id_lookup import Key
from odtk_ray.errors import UsageError

_SCORES = ("score", "confidence", "conf")
# Ways to write a box: x, y, width and height, and theta of rotated ones; or two corners.
_SIDES = (("x", "y", "width", "height", "theta"), ("x", "y", "w", "h", "theta"))
_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
_EXPECTED = (
    "image_id or file_name, category_id or category, score, and x, y, width, height (theta), "
    "xmin, ymin, xmax, ymax or bbox"
)


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table that say what was found.

    Attributes:
        image: how images are named.
        category: how categories are.
        score: name of a column.
        box: names of the columns of a box; one alone holds lists.
    """

    image: Key
    category: Key
    score: str
    box: tuple[str, ...]

    @classmethod
    def choose(cls, path: str, names: Sequence[str]) -> TableColumns:
        """Choose among the columns of a table.

        Raises:
            UsageError: something is missing; it is named, with what would do.
        """
        image = _first(names, "image_id", "file_name")
        category = _first(names, "category_id", "category")
        score = _first(names, *_SCORES)
        boxes = (("bbox",), *_SIDES, *((*side[:4],) for side in _SIDES), *_CORNERS)
        box = next((box for box in boxes if set(box) <= set(names)), None)
        chosen = {"image": image, "category": category, "score": score, "box": box}
        missing = [what for what, found in chosen.items() if found is None]
        if image is None or category is None or score is None or box is None:
            raise UsageError(
                f"cannot use {path} as detections",
                f"no column for {' and '.join(missing)} among {', '.join(names) or 'none'}",
                f"expected are {_EXPECTED}",
            )
        twice = [name for name in (image, category, score, *box) if names.count(name) > 1]
        if twice:
            raise UsageError(
                f"cannot use {path} as detections", f"several columns are called {twice[0]}"
            )
        return cls(
            Key(image, by_name=image == "file_name"),
            Key(category, by_name=category == "category"),
            score,
            box,
        )

    @property
    def texts(self) -> list[str]:
        """The columns of names and ids."""
        return [self.image.column, self.category.column]

    @property
    def numbers(self) -> list[str]:
        """The columns of numbers."""
        return [self.score, *(self.box if len(self.box) > 1 else ())]

    @property
    def used(self) -> list[str]:
        """All columns that are read."""
        return [*self.texts, self.score, *self.box]

    def add(self, batch: pa.RecordBatch, builder: DetectionBuilder) -> None:
        """Add rows of a table to a builder.

        Raises:
            UsageError: as the builder's.
        """
        bbox = self._boxes(batch)
        if self.box in _CORNERS:
            bbox[:, 2:] -= bbox[:, :2]
        score = _floats(batch.column(self.score))
        images, categories = (
            _values(key, batch.column(key.column)) for key in (self.image, self.category)
        )
        builder.add(images, categories, score, bbox)

    def _boxes(self, batch: pa.RecordBatch) -> NDArray[np.float64]:
        if len(self.box) > 1:
            return np.stack([_floats(batch.column(name)) for name in self.box], axis=1)
        lists = batch.column(self.box[0])
        lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
        if len(lengths) > 1 or None in lengths:
            raise pa.ArrowInvalid("the lists of bbox have different lengths")
        return _floats(pc.list_flatten(lists)).reshape(len(batch), -1)


def _first(names: Sequence[str], *wanted: str) -> str | None:
    return next((name for name in wanted if name in names), None)


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """Convert numbers to float64; what is missing is NaN."""
    kind = column.type
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if not any(is_so(kind) for is_so in numbers):
        raise pa.ArrowInvalid(f"a column of numbers holds {kind}")
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.array(values)


def _values(key: Key, column: pa.Array) -> tuple[Key, list[object]]:
    """Return names or ids; those of a table of text may be numbers."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    plain = str(column.type) in ("string", "large_string", "string_view")
    numbers = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not (plain or numbers or pa.types.is_null(column.type)):
        raise pa.ArrowInvalid(f"the column {key.column} holds {column.type}, not text or numbers")
    return Key(key.column, key.by_name, plain and not key.by_name), column.to_pylist()
