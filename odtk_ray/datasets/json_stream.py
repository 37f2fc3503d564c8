"""Scans a JSON file of any size once and in bounded memory.

COCO annotation files hold a few long arrays under top-level keys. `scan` parses the arrays that are
asked for in batches and passes over the rest without parsing it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from odtk_ray.datasets.hashing_reader import HashingReader
from odtk_ray.datasets.json_nesting import JsonError, Nesting, TopLevelArrayError

__all__ = ["Chunk", "JsonError", "TopLevelArrayError", "scan"]

# Arrays and objects are looked at in growing pieces, so that small ones cost little, up to the
# size from which on NumPy's temporary arrays cost more in page faults than in work.
_FIRST_PIECE = 1 << 12
_LAST_PIECE = 1 << 19

_SOLID = re.compile(rb"[^ \t\n\r]")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_DELIMITER = re.compile(rb'[ \t\n\r,:"\[\]{}]')
_COMMA, _COLON, _QUOTE = b',:"'
_ARRAY, _OBJECT, _END_OF_OBJECT = b"[{}"
_END_OF_FILE = -1

# -9223372036854775809, the first integer beyond 64 bits on either side, has 19 digits.
_LONG_NUMBER = b"0" * 19
_DIGITS = bytes.maketrans(b"123456789", b"000000000")


@dataclass(frozen=True)
class Chunk:
    """Some of the parsed value of one top-level key.

    Attributes:
        key: the key.
        items: the next items of the array, in order; or, with `is_array` false, the value alone.
        is_array: whether the value is an array. An empty array comes as one chunk without items.
    """

    key: str
    items: list[Any]
    is_array: bool


def scan(
    stream: BinaryIO | HashingReader,
    keys: Collection[str] | None,
    *,
    note: Collection[str] = (),
    root: str | None = None,
    chunk_bytes: int = 8 << 20,
) -> Iterator[Chunk]:
    """Parse the values of some top-level keys, in file order, up to the last byte.

    An array comes in batches of up to half a megabyte of text, any other value whole. The memory
    needed is that of two batches, of the largest single item and of `chunk_bytes`. What is skipped
    is checked for its brackets and strings only.

    Args:
        stream: the file, read once from its position to its end; UTF-8, with or without a mark.
        keys: the top-level keys whose values are wanted; None wants all that are not in `note`.
        note: keys whose presence is reported, by a chunk without items, and whose values are
            skipped.
        root: key under which the items of a file that is a list are yielded; None refuses lists.
        chunk_bytes: how much is read at a time.

    Yields:
        The values, at least one chunk for each key of `keys` and `note` that the file has.

    Raises:
        TopLevelArrayError: the file is a list, and there is no `root`.
        JsonError: the file is no JSON object, is cut off, goes on after its end, is not UTF-8,
            nests more than 500 deep, or has one of these keys twice: what was yielded for the
            first could not be taken back.
    """
    source = _Buffer(stream, chunk_bytes)
    if _enter(source) == _ARRAY:
        if root is None:
            raise TopLevelArrayError(source.offset, "the top level is an array, not an object")
        yield from _array(source, root)
    else:
        yield from _members(source, keys, note)
    if source.peek() != _END_OF_FILE:
        raise source.error("text after the end of the top level")


def _members(
    source: _Buffer, keys: Collection[str] | None, note: Collection[str]
) -> Iterator[Chunk]:
    """Yield the wanted members of the object at the position; see `scan`."""
    source.position += 1
    seen: set[str] = set()
    after = source.peek()
    if after == _END_OF_OBJECT:
        source.position += 1
    while after != _END_OF_OBJECT:
        key = _key(source, seen)
        wanted = key not in note if keys is None else key in keys
        if wanted or key in note:
            seen.add(key)
        if wanted:
            yield from _wanted(source, key)
        else:
            if key in note:
                yield Chunk(key, [], is_array=source.peek() == _ARRAY)
            _skip(source)
        after = source.peek()
        if after not in (_COMMA, _END_OF_OBJECT):
            raise source.error("a comma or the end of the object is missing")
        source.position += 1


class _Buffer:
    """The part of the file that is in memory, and the position in it."""

    def __init__(self, stream: BinaryIO | HashingReader, chunk_bytes: int) -> None:
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._start = 0  # offset of the buffer's first byte in the file
        self.buffer = b""
        self.position = 0

    @property
    def offset(self) -> int:
        return self._start + self.position

    def more(self) -> bool:
        """Drop what lies before the position and read on; return False at the end of the file."""
        data = self._stream.read(self._chunk_bytes)
        self._start += self.position
        self.buffer = self.buffer[self.position :] + data
        self.position = 0
        return bool(data)

    def peek(self) -> int:
        """Move to the next byte that is not white space; return it, or -1 at the end of file."""
        while True:
            if solid := _SOLID.search(self.buffer, self.position):
                self.position = solid.start()
                return self.buffer[self.position]
            self.position = len(self.buffer)
            if not self.more():
                return _END_OF_FILE

    def error(self, reason: str) -> JsonError:
        if self.position == len(self.buffer) and not self.more():
            reason = f"the file ends here: {reason}"
        return JsonError(self.offset, reason)


def _enter(source: _Buffer) -> int:
    """Move to the bracket that the top level begins with, and return it."""
    while len(source.buffer) < 4 and source.more():
        pass
    if source.buffer.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in source.buffer[:4]:
        raise source.error("UTF-16, UTF-32 or binary data, not UTF-8")
    if source.buffer.startswith(b"\xef\xbb\xbf"):
        source.position = 3
    first = source.peek()
    if first == _END_OF_FILE:
        raise JsonError(source.offset, "the file is empty")
    if first not in (_ARRAY, _OBJECT):
        raise source.error("not JSON: an object is expected")
    return first


def _key(source: _Buffer, seen: set[str]) -> str:
    if source.peek() != _QUOTE:
        raise source.error("a key in quotes is expected")
    at = source.offset
    key: str = parse(_string(source), at)
    if key in seen:
        raise JsonError(at, f"the key {json.dumps(key)} occurs twice at the top level")
    if source.peek() != _COLON:
        raise source.error("a colon is missing")
    source.position += 1
    return key


def _wanted(source: _Buffer, key: str) -> Iterator[Chunk]:
    first = source.peek()
    if first == _ARRAY:
        yield from _array(source, key)
        return
    at = source.offset
    if first == _OBJECT:
        text = b"".join(piece for _, piece in _pieces(source, Nesting()))
    else:
        text = _plain(source)
    yield Chunk(key, [parse(text, at)], is_array=False)


def _skip(source: _Buffer) -> None:
    if source.peek() in (_ARRAY, _OBJECT):
        for _ in _pieces(source, Nesting()):
            pass
    else:
        at = source.offset
        parse(_plain(source), at)


def _plain(source: _Buffer) -> bytes:
    """Read the text of a value that is neither an array nor an object."""
    if source.peek() == _QUOTE:
        return _string(source)
    while not (end := _DELIMITER.search(source.buffer, source.position)):
        if not source.more():
            raise JsonError(source.offset, "the file ends in a value")
    text = source.buffer[source.position : end.start()]
    if not text:
        raise source.error("a value is expected")
    source.position = end.start()
    return text


def _string(source: _Buffer) -> bytes:
    while not (match := _STRING.match(source.buffer, source.position)):
        if not source.more():
            raise JsonError(source.offset, "a string has no end")
    source.position = match.end()
    return match.group()


def _array(source: _Buffer, key: str) -> Iterator[Chunk]:
    nesting = Nesting()
    begun: list[bytes] = []  # text since the last cut, in an item that has not ended yet
    cut, first = source.offset, True  # offset of the bracket or comma before that text
    for at, piece in _pieces(source, nesting):
        stop = len(piece) - 1 if nesting.closed else nesting.last_comma(piece)
        start = max(0, cut + 1 - at)
        begun.append(piece[start:stop] if stop >= 0 else piece[start:])
        if stop < 0:
            continue
        text = b"[%b]" % b"".join(begun)
        if not _SOLID.search(text, 1, len(text) - 1) and not (first and nesting.closed):
            raise JsonError(at + stop, "an item is missing")
        # Held by no name here: the caller's batch and the next one are all that is in memory.
        yield Chunk(key, parse(text, cut), is_array=True)
        begun, cut, first = [piece[stop + 1 :]], at + stop, False


def parse(text: bytes, offset: int) -> Any:
    """Parse a whole text, whose first byte is at `offset` in the file.

    orjson is four times as quick as the standard parser, which gets what orjson refuses (mistakes,
    NaN, lone surrogates, numbers beyond float64) and integers beyond 64 bits, made floats there.

    Raises:
        JsonError: it is no JSON.
    """
    if _LONG_NUMBER not in text.translate(_DIGITS):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    return _parse_by_standard(text, offset)


def _parse_by_standard(text: bytes, offset: int) -> Any:
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        raise JsonError(offset + error.start, "not UTF-8") from error
    except json.JSONDecodeError as error:
        before = error.doc[: error.pos].encode("utf-8", "surrogatepass")
        raise JsonError(offset + len(before), error.msg) from error
    except (ValueError, RecursionError) as error:  # such as an integer of 5000 digits
        raise JsonError(offset, str(error)) from error


def _pieces(source: _Buffer, nesting: Nesting) -> Iterator[tuple[int, bytes]]:
    """Yield the array or object at the position in pieces, each with its offset in the file.

    Whenever a piece is given out, `nesting` has read it and the position is behind it.
    """
    begin, size = source.offset, _FIRST_PIECE
    while not nesting.closed:
        if source.position == len(source.buffer) and not source.more():
            raise JsonError(begin, "an array or object has no end")
        at = source.offset
        piece = source.buffer[source.position : source.position + size]
        piece = piece[: nesting.read(piece, at)]
        source.position += len(piece)
        size = min(2 * size, _LAST_PIECE)
        yield at, piece
