"""Text of output files: columns of Arrow with one text per detection, and indented JSON objects.

Arrow joins them without an object of Python for each, and lets other threads of the driver go on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from odtk_ray.shards.merge import MergedRows

_TEXT = pa.large_string()
_COMMA = ord(",")


def text_column(texts: Sequence[str]) -> pa.Array:
    """Return texts as a column."""
    return pa.array(texts, _TEXT)


def per_detection(rows: MergedRows, texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Repeat each image's text for each of its detections."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return whole.take(pa.array(rows.owners))


def per_image(rows: MergedRows, texts: pa.Array, separator: str) -> pa.Array:
    """Join the texts of each image's detections."""
    lists = pa.LargeListArray.from_arrays(pa.array(rows.offsets), texts)
    return pc.binary_join(lists, pa.scalar(separator, _TEXT))


def per_class(texts: Sequence[str], rows: MergedRows) -> pa.Array:
    """Look up the text of each detection's class."""
    return text_column(texts).take(pa.array(rows.classes))


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


def box_columns(rows: MergedRows) -> list[pa.Array]:
    """Format x, y, width, height, and theta of rotated boxes, a column for each."""
    return [number_texts(values) for values in rows.bbox.T]


def corner_columns(rows: MergedRows) -> list[pa.Array]:
    """Format the eight corner coordinates of rotated boxes, a column for each; [] for others."""
    return [number_texts(values) for values in rows.segmentation.T] if rows.rotated else []


def box_names(rotated: bool) -> tuple[str, ...]:
    """Return the column names of a `bbox` in tables."""
    return ("x", "y", "width", "height", *(("theta",) if rotated else ()))


def number_texts(values: NDArray[np.float64]) -> pa.Array:
    """Format each number of float64 [n] as Python's repr does."""
    if not len(values):
        return text_column([])
    flat = np.ascontiguousarray(values)
    text = np.frombuffer(orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY), np.uint8)[1:-1]
    is_comma = text == _COMMA
    ends = np.flatnonzero(is_comma) - np.arange(len(flat) - 1)  # without the commas before
    offsets, digits = np.concatenate([[0], ends, [len(text) - len(ends)]]), text[~is_comma]
    texts = pa.LargeStringArray.from_buffers(len(flat), pa.py_buffer(offsets), pa.py_buffer(digits))
    # Both write the shortest digits that give the number back; exponents look different.
    size = np.abs(flat)
    if (odd := ((size < 1e-4) & (size > 0)) | (size >= 1e16)).any():
        proper = text_column([repr(value) for value in flat[odd].tolist()])
        return pc.replace_with_mask(texts, pa.array(odd), proper)
    return texts


def fill_template(template: str, *columns: pa.Array) -> pa.Array:
    """Fill a template for each row of the columns, each `%s` from its column."""
    first, *rest = template.split("%s")
    parts: list[pa.Array | pa.Scalar] = [pa.scalar(first, _TEXT)]
    for column, text in zip(columns, rest, strict=True):
        parts += [column, pa.scalar(text, _TEXT)]
    return pc.binary_join_element_wise(*parts, pa.scalar("", _TEXT))


def joined(texts: pa.Array) -> memoryview:
    """Return the UTF-8 of texts, one behind the other, which is how they lie in memory."""
    _, offsets, characters = texts.buffers()
    if not len(texts):
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int64)
    return memoryview(characters)[ends[texts.offset] : ends[texts.offset + len(texts)]]


# json.dumps with `indent` takes its encoder in Python, which is five times as slow.
_FLAT = json.JSONEncoder(separators=(",\n            ", ": "))


def indented(value: dict[str, object]) -> str:
    """Format an object as json.dumps does with an indent of 4, inside a list inside an object."""
    if value and not any(isinstance(v, (dict, list)) for v in value.values()):
        return f"        {{\n            {_FLAT.encode(value)[1:-1]}\n        }}"
    return "        " + json.dumps(value, indent=4).replace("\n", "\n        ")
