"""The few bytes of an ONNX file that say what it is, read without the onnx package."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import TypeAlias

_Bytes: TypeAlias = bytes | mmap.mmap


def metadata_props(data: _Bytes) -> Iterator[tuple[str, str]]:
    """Key and value of each entry of an ONNX file's `metadata_props`; the weights are not read.

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


def _messages(data: _Bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field; protobuf's wire format."""
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
