"""What JSON may hold where a type is declared: it is taken as it is, or named in one clause."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.typed_json import (
    Count,
    OtherFormatError,
    Range,
    WrongJsonError,
    parse_json,
    typed,
    typed_versioned,
)


@dataclass(frozen=True)
class Inner:
    ids: tuple[int | str, ...]
    kind: Literal["a", "b"] = "a"


class Table(TypedDict):
    name: str
    more: dict[str, list[float]]


@dataclass(frozen=True)
class Outer:
    count: Count
    share: Annotated[float, Range(above=0, maximum=1)]
    size: tuple[int, int] | None
    flag: bool
    inner: Inner
    table: Table
    rest: Any


GOOD = {
    "count": 3,
    "share": 1,
    "size": [4, 5],
    "flag": False,
    "inner": {"ids": [1, "x"], "kind": "b"},
    "table": {"name": "t", "more": {"y": [0.5, 2]}},
    "rest": [None],
}


def test_what_fits_is_built_and_not_converted():
    built = typed(GOOD, Outer)
    table = {"name": "t", "more": {"y": [0.5, 2]}}
    assert built == Outer(3, 1, (4, 5), False, Inner((1, "x"), "b"), table, [None])
    assert isinstance(built.share, int)
    assert typed(GOOD | {"size": None, "inner": built.inner}, Outer).inner is built.inner


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count is 0, not a number from 1 to 1,000,000"),
        ({"count": True}, "count is True, not a whole number"),
        ({"count": 3.0}, "count is 3.0, not a whole number"),
        ({"share": 0}, "share is 0, not a number above 0"),
        ({"share": "1"}, "share is '1', not a finite number"),
        ({"share": 10**400}, "not a finite number"),
        ({"share": float("nan")}, "share is nan, not a finite number"),
        ({"size": [4]}, "size is [4], not a list of 2"),
        ({"size": [4, None]}, "size[1] is None, not a whole number"),
        ({"size": {}}, "size is {}, not a list"),
        ({"flag": 0}, "flag is 0, not true or false"),
        ({"inner": []}, "inner is [], not a table"),
        ({"inner": {"ids": []}}, "it has no inner.kind"),
        ({"inner": {"ids": [], "kind": "c"}}, "inner.kind is 'c', not one of a, b"),
        ({"inner": {"ids": [], "kind": ["a"]}}, "inner.kind is ['a'], not one of a, b"),
        ({"inner": {"ids": [[1]], "kind": "a"}}, "inner.ids[0] is [1], not a whole number"),
        ({"table": {"name": "t"}}, "it has no table.more"),
        ({"table": {"name": "t", "more": {"y": [None]}}}, "table.more.y[0] is None, not a finite"),
        ({"table": {"name": "t", "more": {"a\nb": 1}}}, r"table.more.'a\nb' is 1, not a list"),
        ({"table": {"name": "t", "more": {"a" * 99: 1}}}, "aaa' is 1, not a list"),
        ({"novel": 1}, "it has an unknown 'novel'"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(WrongJsonError) as error:
        typed(GOOD | changes, Outer)
    assert message in str(error.value)


def test_formats():
    assert typed_versioned({"format": 1, "a": 2}, 1) == {"a": 2}
    with pytest.raises(OtherFormatError, match="its format is 2, and this version reads 1"):
        typed_versioned({"format": 2}, 1)
    for wrong, message in (({}, "it has no format"), ([], "it is .., not a table")):
        with pytest.raises(WrongJsonError, match=message):
            typed_versioned(wrong, 1)


@pytest.mark.parametrize("text", [b"", b"[", b"[" * 10**6, b"\xff", b"{'a': 1}", "1" * 9999])
def test_what_is_not_json(text):
    with pytest.raises(WrongJsonError, match="it is not JSON"):
        parse_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner),
    max_leaves=20,
)


@examples(400)
@given(st.sampled_from([*GOOD]), JSON)
def test_any_value_anywhere_is_taken_or_named(key, value):
    with contextlib.suppress(WrongJsonError):
        typed(GOOD | {key: value}, Outer)


def test_errors_are_short():
    with pytest.raises(WrongJsonError) as error:
        typed(GOOD | {"count": [[1e16] * 6] * 6}, Outer)
    assert len(str(error.value)) < 100
