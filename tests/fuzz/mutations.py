"""Ways to edit or damage a file that was good, drawn by Hypothesis; and what may come of it."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from odtk_ray.errors import OdtkError

# Values that readers trip over, beside those that Hypothesis finds by itself.
ODD = [
    None, True, 0, -1, 7, 2**31, 2**63, 10**30, 0.0, -0.0, 1e-320, 1e308, float("nan"),
    float("inf"), "", "0", "NaN", "../../x", "\x00", "\ud800", [], {}, [[]], [0], {"id": 1},
]  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
).map(copy.deepcopy)  # documents are edited more than once: no example may change another's values
DEEP = "[" * 3000 + "]" * 3000


def edited(draw: Callable[..., Any], document: Any) -> Any:
    """A copy of a JSON document with one to three values replaced, removed, added or doubled."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            return draw(VALUES)
        table, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace", "replace", "remove", "add", "double"]))
        if how == "remove":
            del table[key]
        elif how == "replace":
            table[key] = draw(VALUES)
        elif isinstance(table, list):
            table.insert(key, table[key] if how == "double" else draw(VALUES))
        else:
            table[draw(st.text(max_size=8))] = table[key] if how == "double" else draw(VALUES)
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document: a table or list, and the key or index in it."""
    pairs: Any = ()
    if isinstance(document, dict):
        pairs = document.items()
    elif isinstance(document, list):
        pairs = enumerate(document)
    for key, value in list(pairs):
        yield document, key
        yield from _places(value)


def edited_text(draw: Callable[..., Any], text: bytes) -> bytes:
    """A JSON file that was edited by a program, or by hand, or damaged."""
    how = draw(st.sampled_from(["edit", "edit", "edit", "damage", "deep", "other"]))
    if how == "edit":
        return json.dumps(edited(draw, json.loads(text))).encode()
    if how == "damage":
        return damaged(draw, text)
    if how == "other":
        return json.dumps(draw(VALUES)).encode()
    at = text.index(b":", draw(st.integers(0, len(text) // 2))) + 1
    return text[:at] + DEEP.encode() + text[at:]


def damaged(draw: Callable[..., Any], data: bytes) -> bytes:
    """A file of which some bytes changed, or whose end is missing."""
    bad = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        bad[draw(st.integers(0, len(bad) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.booleans())
    return bytes(bad[: draw(st.integers(0, len(bad)))] if cut else bad)


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Lets what is within end in one of the project's errors, and in no other."""
    try:
        yield
    except OdtkError as error:
        parts = (error.what, error.why, error.hint)
        assert error.what and error.why, parts  # noqa: PT017, PT018 - every message is looked at
        assert all("\n" not in part and "Traceback" not in part for part in parts), parts
        assert len("".join(parts)) < 1000, parts
