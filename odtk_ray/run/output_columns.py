"""Text of output files: columns with one value per detection, and indented JSON objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from odtk_ray.shards.merge import MergedRows


def per_detection(rows: MergedRows, values: pa.ChunkedArray | Sequence[Any]) -> list[Any]:
    """Repeat each image's value for each of its detections."""
    listed = values.to_pylist() if isinstance(values, pa.ChunkedArray) else values
    repeated: list[Any] = np.repeat(_objects(listed), np.diff(rows.offsets)).tolist()
    return repeated


def per_class(values: Sequence[Any], classes: NDArray[np.int64]) -> list[Any]:
    """Look up the value of each detection's class."""
    picked: list[Any] = _objects(values)[classes].tolist()
    return picked


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def are_integers(ids: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether all of some ids, JSON texts, are integers of 64 bits."""
    try:
        pc.cast(ids, pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def id_column(texts: Sequence[str], integers: bool) -> pa.Array:
    """Return ids, JSON texts, as a column of integers of 64 bits, or of text."""
    values = [json.loads(text) for text in texts]
    return pa.array(values, pa.int64()) if integers else pa.array(map(str, values), pa.string())


def box_columns(rows: MergedRows) -> list[list[str]]:
    """Format x, y, width, height, and theta of rotated boxes as text, one list for each."""
    return _columns(rows.bbox)


def corner_columns(rows: MergedRows) -> list[list[str]]:
    """Format the eight corner coordinates of rotated boxes, one list for each; [] for others."""
    return _columns(rows.segmentation) if rows.rotated else []


def _columns(values: NDArray[np.float64]) -> list[list[str]]:
    texts, count = number_texts(values), values.shape[1]
    return [texts[k::count] for k in range(count)]


def box_names(rotated: bool) -> tuple[str, ...]:
    """Return the column names of a `bbox` in tables."""
    return ("x", "y", "width", "height", *(("theta",) if rotated else ()))


def number_texts(values: NDArray[np.float64]) -> list[str]:
    """Format each number as Python's repr does, five times as fast."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if not len(flat):
        return []
    texts = orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
    size = np.abs(flat)
    # Both write the shortest digits that give the number back; exponents look different.
    for i in np.flatnonzero(((size < 1e-4) & (size > 0)) | (size >= 1e16)).tolist():
        texts[i] = repr(float(flat[i]))
    return texts


def fill_template(template: str, separator: str, *columns: Sequence[str]) -> str:
    """Repeat a template for each detection, each `%s` filled from its column."""
    count = len(columns[0])
    values: list[str] = [""] * (len(columns) * count)
    for k, column in enumerate(columns):
        values[k :: len(columns)] = column
    return separator.join([template] * count) % tuple(values)


# json.dumps with `indent` takes its encoder in Python, which is five times as slow.
_FLAT = json.JSONEncoder(separators=(",\n            ", ": "))


def indented(value: dict[str, object]) -> str:
    """Format an object as json.dumps does with an indent of 4, inside a list inside an object."""
    if value and not any(isinstance(v, (dict, list)) for v in value.values()):
        return f"        {{\n            {_FLAT.encode(value)[1:-1]}\n        }}"
    return "        " + json.dumps(value, indent=4).replace("\n", "\n        ")
