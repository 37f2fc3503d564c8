"""Looks up images and categories by their ids or names, a column at a time."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.problems import shown
from odtk_ray.errors import UsageError

UNKNOWN = -1
_WHOLE = re.compile(r"0|-?[1-9][0-9]*")  # as JSON has whole numbers


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


class Lookup(Protocol):
    """The images, or the categories, that detections may be of."""

    def find(self, key: Key, values: Sequence[Any]) -> NDArray[np.int64]:
        """Return the positions of what a column names, int64 [n]; `UNKNOWN` for others."""


class KnownLookup:
    """The images or categories of an annotation file.

    Args:
        ids: JSON texts.
        names: empty where there is none.
    """

    def __init__(self, ids: Sequence[str], names: Sequence[str]) -> None:
        self._ids = IdLookup(ids)
        self._names = {name: place for place, name in enumerate(names) if name}
        self._twice = {name for name, count in Counter(names).items() if name and count > 1}

    def find(self, key: Key, values: Sequence[Any]) -> NDArray[np.int64]:
        """See `Lookup`.

        Raises:
            UsageError: a name is that of several.
        """
        if key.by_name:
            texts = [value if isinstance(value, str) else "" for value in values]
            if twice := self._twice.intersection(texts):
                raise UsageError(
                    f"the {key.column} {shown(min(twice))} is not clear",
                    "several in the annotation file have this name",
                    "name them by image_id and category_id",
                )
            return np.array([self._names.get(text, UNKNOWN) for text in texts], np.int64)
        return self._ids.find_plain(values) if key.plain else self._ids.find(values)


class OpenLookup:
    """Whatever files name, numbered as it comes.

    Attributes:
        texts: ids as JSON texts, or names, by number.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._places: dict[str, int] = {}

    def find(self, key: Key, values: Sequence[Any]) -> NDArray[np.int64]:
        """See `Lookup`; nothing is unknown."""
        if key.plain:
            places = {value: self._plain_place(value) for value in dict.fromkeys(values)}
            return np.array([places[value] for value in values], np.int64)
        texts = [str(value) if key.by_name else id_text(value) for value in values]
        places = {text: self._place(text) for text in dict.fromkeys(texts)}
        return np.array([places[text] for text in texts], np.int64)

    def _place(self, text: str) -> int:
        place = self._places.setdefault(text, len(self.texts))
        if place == len(self.texts):
            self.texts.append(text)
        return place

    def _plain_place(self, value: str | None) -> int:
        """Return the place of an id in a table of text: of the number that it may be, or a text."""
        text, whole = json.dumps(value), (value or "").removesuffix(".0")
        if not _WHOLE.fullmatch(whole) or (text in self._places and whole not in self._places):
            return self._place(text)
        return self._places.setdefault(text, self._place(whole))  # a table cannot tell them apart


class IdLookup:
    """Positions of ids in a list.

    Args:
        ids: their JSON texts.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._by_text = {text: place for place, text in enumerate(ids)}
        # As tables without types have them; of 17 and "17" the number counts.
        plain = {str(json.loads(text)): place for text, place in self._by_text.items()}
        numbers = {text: p for text, p in self._by_text.items() if not text.startswith('"')}
        self._by_plain = plain | numbers
        whole = [(int(text), p) for text, p in numbers.items() if -(2**63) <= int(text) < 2**63]
        columns = np.array(sorted(whole), np.int64).reshape(-1, 2)
        self._numbers, self._places = columns[:, 0], columns[:, 1]

    def find(self, values: Sequence[Any]) -> NDArray[np.int64]:
        """Return the positions of ids as JSON has them: 17 and 17.0 are one id, "17" is another.

        Returns:
            int64 [n]; `UNKNOWN` where there is no such id.
        """
        if set(map(type, values)) == {int} and len(self._numbers):
            try:
                wanted = np.array(values, np.int64)
            except OverflowError:
                return self._find_texts(values)
            nearest = np.searchsorted(self._numbers, wanted).clip(max=len(self._numbers) - 1)
            return np.where(self._numbers[nearest] == wanted, self._places[nearest], UNKNOWN)
        return self._find_texts(values)

    def find_plain(self, values: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of ids in a table of text, where 17, 17.0 and "17" look alike."""
        known = self._by_plain
        places = [
            known[text] if text in known else known.get(text.removesuffix(".0"), UNKNOWN)
            for text in values
        ]
        return np.array(places, np.int64)

    def _find_texts(self, values: Sequence[Any]) -> NDArray[np.int64]:
        return np.array([self._by_text.get(id_text(value), UNKNOWN) for value in values], np.int64)
