"""Reads the description in an ONNX file without the onnx package."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import TypeAlias

_Bytes: TypeAlias = bytes | mmap.mmap


def metadata_props(data: _Bytes) -> Iterator[tuple[str, str]]:
    """Yield key and value of an ONNX file's `metadata_props`, without reading the weights.

    Source: onnx.proto, ModelProto.metadata_props = 14, StringStringEntryProto key = 1, value = 2.

    Args:
        data: the file.

    Raises:
        ValueError: it is not protobuf, or cut off (IndexError too).
    """
    for field, start, end in _messages(data, 0, len(data)):
        if field == 14:
            entry = {f: data[s:e].decode() for f, s, e in _messages(data, start, end)}
            yield entry[1], entry.get(2, "")


def graph_ends(data: _Bytes) -> dict[str, tuple[int | None, ...]]:
    """Return name and dimensions of each input and output of a graph; None is a free dimension.

    Source: onnx.proto, ModelProto.graph = 7; GraphProto.input = 11, output = 12; ValueInfoProto
    name = 1, type = 2; TypeProto.tensor_type = 1; Tensor.shape = 2; TensorShapeProto.dim = 1;
    Dimension.dim_value = 1.

    Args:
        data: the file.

    Raises:
        ValueError: it is not protobuf, or cut off (IndexError too).
    """
    ends = {}
    for start, end in _inner(data, 0, len(data), 7):
        for field in (11, 12):
            for s, e in _inner(data, start, end, field):
                (name,) = [data[a:b].decode() for a, b in _inner(data, s, e, 1)]
                dims = [_dimension(data, a, b) for a, b in _inner(data, s, e, 2, 1, 2, 1)]
                ends[name] = tuple(dims)
    return ends


def begins_with_cast(data: _Bytes) -> bool:
    """Return whether the first node of a graph is a Cast, as it is in a file of `export --half`.

    Source: onnx.proto, ModelProto.graph = 7, GraphProto.node = 1, NodeProto.op_type = 4.
    """
    start, end = next(_inner(data, 0, len(data), 7, 1, 4), (0, 0))
    return data[start:end] == b"Cast"


def _inner(data: _Bytes, at: int, end: int, *path: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the fields under these numbers, one message within the other."""
    for field, start, stop in _messages(data, at, end):
        if field == path[0]:
            if len(path) == 1:
                yield start, stop
            else:
                yield from _inner(data, start, stop, *path[1:])


def _dimension(data: _Bytes, at: int, end: int) -> int | None:
    return _varint(data, at + 1)[0] if at < end and data[at] == 1 << 3 else None


def _messages(data: _Bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each length-delimited field; protobuf's wire format."""
    while at < end:
        tag, at = _varint(data, at)
        size = {0: 0, 1: 8, 2: -1, 5: 4}.get(tag & 7)
        if size is None:
            raise ValueError("not protobuf")
        if size <= 0:
            value, at = _varint(data, at)
            size = value if size < 0 else 0
        if at + size > end:
            raise ValueError("cut off")
        if tag & 7 == 2:
            yield tag >> 3, at, at + size
        at += size


def _varint(data: _Bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("not protobuf")
