"""Finds where a JSON array or object ends, without parsing it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 500  # json.loads itself ends at the interpreter's recursion limit, usually 1000

_QUOTE, _SLASH = b'"\\'


class JsonError(ValueError):
    """The file is not the JSON that `scan` accepts.

    Attributes:
        offset: position in the file, in bytes.
        reason: one short clause.
    """

    def __init__(self, offset: int, reason: str) -> None:
        self.offset, self.reason = offset, reason
        super().__init__(offset, reason)

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.reason}"


class TopLevelArrayError(JsonError):
    """The file is a list, such as COCO's results, instead of an object."""


class Nesting:
    """Follows brackets and strings through one array or object, piece by piece.

    A mark is a quote or bracket. `levels` and `inside` hold the depth and whether it is in a string
    after each mark of the latest piece; the first entry is the state in which the piece began.
    """

    def __init__(self) -> None:
        self.closed = False
        self._marks: NDArray[np.int64] = np.array([-1])
        self._levels: NDArray[np.int64] = np.array([0])
        self._inside: NDArray[np.bool_] = np.array([False])
        self._escaped = False  # the piece ended in a backslash that escapes the next byte
        self._open = np.zeros(MAX_DEPTH + 1, np.uint8)  # the open bracket at each depth

    def read(self, piece: bytes, offset: int) -> int:
        """Read the next piece; return how many of its bytes belong to the container."""
        view = np.frombuffer(piece, np.uint8)
        folded = view | 0x20  # the one bit in which [ and {, ] and } differ
        found = np.flatnonzero((folded == ord("{")) | (folded == ord("}")) | (view == _QUOTE))
        kinds = view[found]
        quotes = kinds == _QUOTE
        slashes = np.flatnonzero(view == _SLASH) if _SLASH in piece else found[:0]
        if self._escaped or len(slashes):
            quotes &= ~self._escapes(view, slashes)[found]
        inside = np.logical_xor.accumulate(np.concatenate((self._inside[-1:], quotes)))
        steps = (kinds & 2).astype(np.int8) - 1  # bit 1 tells opening from closing brackets
        steps[inside[1:] | (kinds == _QUOTE)] = 0
        levels = np.cumsum(np.concatenate((self._levels[-1:], steps)))
        end = len(found)
        if not levels[1:].all():
            end = int(np.argmin(levels[1:] != 0)) + 1
            self.closed = True
        self._marks = np.concatenate(([-1], found[:end]))
        self._levels, self._inside = levels[: end + 1], inside[: end + 1]
        length = int(found[end - 1]) + 1 if self.closed else len(piece)
        self._check_slashes(slashes[slashes < length], offset)
        brackets = np.flatnonzero(steps[:end])
        self._check_pairs(kinds[brackets], levels[1:][brackets], found[brackets] + offset)
        return length

    def last_comma(self, piece: bytes) -> int:
        """Return the position of the last comma between two items of the latest piece, or -1."""
        ends = np.append(self._marks[1:], len(piece))
        for i in np.flatnonzero((self._levels == 1) & ~self._inside)[::-1]:
            comma = piece.rfind(b",", self._marks[i] + 1, ends[i])
            if comma >= 0:
                return comma
        return -1

    def _escapes(self, view: NDArray[np.uint8], slashes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which bytes are escaped: those after a run of backslashes of odd length."""
        escaped = np.zeros(len(view) + 1, np.bool_)
        if self._escaped and view[0] != _SLASH:
            escaped[0] = True
        breaks = np.flatnonzero(np.diff(slashes) != 1)
        firsts = slashes[np.append(0, breaks + 1)] if len(slashes) else slashes
        lasts = slashes[np.append(breaks, -1)] if len(slashes) else slashes
        lengths = lasts - firsts + 1
        if self._escaped and view[0] == _SLASH:
            lengths[0] -= 1
        escaped[lasts[lengths % 2 == 1] + 1] = True
        self._escaped = bool(escaped[-1])
        return escaped[:-1]

    def _check_slashes(self, slashes: NDArray[np.int64], offset: int) -> None:
        outside = slashes[~self._inside[np.searchsorted(self._marks, slashes) - 1]]
        if len(outside):
            raise JsonError(offset + int(outside[0]), "a backslash outside a string")

    def _check_pairs(
        self, kinds: NDArray[np.uint8], levels: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> None:
        """Check that every closing bracket matches the opening one of its depth."""
        closing = (kinds & 2) == 0
        depths = levels + closing  # the same for both brackets of a pair
        if depths.max(initial=0) > MAX_DEPTH:
            too_deep = offsets[np.argmax(depths > MAX_DEPTH)]
            raise JsonError(int(too_deep), f"nested more than {MAX_DEPTH} deep")
        # Sorted by depth, a closing bracket stands next to its opening one. 16 bits: radix sort.
        order = np.argsort(depths.astype(np.int16), kind="stable")
        depths, kinds, closing = depths[order], kinds[order], closing[order]
        first = np.ones(len(depths) + 1, np.bool_)  # of its depth; the last entry closes the row
        np.not_equal(depths[1:], depths[:-1], out=first[1:-1])
        partners = np.empty_like(kinds)
        partners[1:] = kinds[:-1]
        new, last = first[:-1], first[1:]
        partners[new] = self._open[depths[new]]
        wrong = closing & (kinds - partners != 2)  # as in ASCII
        if wrong.any():
            raise JsonError(int(offsets[order][wrong].min()), "the brackets do not match")
        self._open[depths[last]] = kinds[last]
