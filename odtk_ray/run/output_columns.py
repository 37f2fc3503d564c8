"""Columns of text, one value a detection, from which the output formats are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray.shards.merge import Merged


def each(rows: Merged, values: pa.ChunkedArray | Sequence[Any]) -> list[Any]:
    """For each detection the value of its image."""
    listed = values.to_pylist() if isinstance(values, pa.ChunkedArray) else values
    each: list[Any] = np.repeat(_objects(listed), np.diff(rows.offsets)).tolist()
    return each


def pick(values: Sequence[Any], classes: NDArray[np.int64]) -> list[Any]:
    """For each detection the value of its class."""
    picked: list[Any] = _objects(values)[classes].tolist()
    return picked


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def box(rows: Merged) -> list[list[str]]:
    """The text of x, y, width, height, and theta of rotated boxes: a list for each of them."""
    return _columns(rows.bbox)


def outline(rows: Merged) -> list[list[str]]:
    """The text of the eight numbers of a rotated box's corners, a list for each; otherwise none."""
    return _columns(rows.segmentation) if rows.rotated else []


def _columns(values: NDArray[np.float64]) -> list[list[str]]:
    texts, count = numbers(values), values.shape[1]
    return [texts[k::count] for k in range(count)]


def box_names(rotated: bool) -> tuple[str, ...]:
    """What the numbers of a `bbox` are called in tables."""
    return ("x", "y", "width", "height", *(("theta",) if rotated else ()))


def numbers(values: NDArray[np.float64]) -> list[str]:
    """What Python's repr says of each number; five times as fast."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if not len(flat):
        return []
    texts = orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
    size = np.abs(flat)
    # Both write the shortest digits that give the number back; exponents look different.
    for i in np.flatnonzero(((size < 1e-4) & (size > 0)) | (size >= 1e16)).tolist():
        texts[i] = repr(float(flat[i]))
    return texts


def filled(template: str, separator: str, *columns: Sequence[str]) -> str:
    """The template once a detection, each `%s` filled from its column."""
    count = len(columns[0])
    values: list[str] = [""] * (len(columns) * count)
    for k, column in enumerate(columns):
        values[k :: len(columns)] = column
    return separator.join([template] * count) % tuple(values)
