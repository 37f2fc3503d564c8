"""Reads JSON that others may have edited: every value has the declared type and range, or is named.

The types are those of dataclasses and typed dictionaries. Values stay as they are in the file, a 0
where a float is declared too: descriptions of files are hashed, and have to be what was written.
"""

from __future__ import annotations

import functools
import json
import math
import reprlib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from odtk_ray.errors import UsageError

T = TypeVar("T")


class WrongJsonError(ValueError):
    """JSON that is not what was declared; the text is a clause, such as `std[1] is 0, not > 0`."""


class OtherFormatError(WrongJsonError):
    """JSON of another version's format."""


@dataclass(frozen=True)
class Range:
    """The numbers that a field may have, written in its type: `Annotated[int, Range(1, 100)]`.

    Attributes:
        minimum: the least.
        maximum: the greatest.
        above: what it must be greater than.
    """

    minimum: float = -math.inf
    maximum: float = math.inf
    above: float = -math.inf

    def check(self, value: float, name: str) -> None:
        """Raise WrongJsonError for a number outside."""
        if not self.minimum <= value <= self.maximum:
            limits = f"{_shown(self.minimum)} to {_shown(self.maximum)}"
            raise _wrong(value, name, f"a number from {limits}")
        if not value > self.above:
            raise _wrong(value, name, f"a number above {_shown(self.above)}")


def _shown(limit: float) -> str:
    return f"{limit:,.0f}" if abs(limit) < 1e16 else f"{limit:g}"


# More classes, pixels or images at once than there are anywhere.
Count = Annotated[int, Range(1, 1_000_000)]


def parse_json(data: bytes | str) -> Any:
    """Parse JSON, whatever it holds, NaN and numbers of any length included.

    Raises:
        WrongJsonError: it is none, or is nested too deeply.
    """
    try:
        return json.loads(data)
    except ValueError as error:
        raise WrongJsonError(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise WrongJsonError("it is not JSON of odtk-ray: it is nested too deeply") from error


def typed(value: Any, kind: type[T], name: str = "") -> T:
    """Build what a type declares from a parsed JSON value.

    Args:
        value: from JSON. Where a dataclass is declared, an instance of it is taken too.
        kind: a dataclass, a typed dictionary, or what their fields are made of: bool, int, float,
            str, None, Any, literals, unions, tuples, lists, and dictionaries with keys of text.
            Every field has to be there, also one that has a default.
        name: of the value, for the errors.

    Raises:
        WrongJsonError: a value is missing, unknown, of another type, infinite or out of range.
    """
    result: T = _typed(value, kind, name)
    return result


def typed_versioned(value: Any, version: int) -> dict[str, Any]:
    """Return a table without its `format`.

    Raises:
        OtherFormatError: it has another format.
        WrongJsonError: it is no table, or has none.
    """
    table = typed(value, dict[str, Any])
    if "format" not in table:
        raise WrongJsonError("it has no format")
    found = table.pop("format")
    if found is True or found != version:
        text = f"its format is {_short(found)}, and this version reads {version}"
        raise OtherFormatError(text)
    return table


def _typed(value: Any, kind: Any, name: str) -> Any:
    if is_dataclass(kind):
        return _dataclass(value, kind, name)
    if is_typeddict(kind):
        return _members(value, _hints(kind), name)
    if kind in _PLAIN:
        is_right, meaning = _PLAIN[kind]
        if not is_right(value):
            raise _wrong(value, name, meaning)
        return value
    return _COMPOUND[get_origin(kind)](value, kind, name)


def _limited(value: Any, kind: Any, name: str) -> Any:
    result = _typed(value, get_args(kind)[0], name)
    for limit in kind.__metadata__:
        if isinstance(limit, Range):
            limit.check(result, name)
    return result


def _literal(value: Any, kind: Any, name: str) -> Any:
    if not isinstance(value, str) or value not in get_args(kind):
        raise _wrong(value, name, f"one of {', '.join(get_args(kind))}")
    return value


def _dictionary(value: Any, kind: Any, name: str) -> Any:
    item = get_args(kind)[1]
    return {key: _typed(v, item, _join(name, key)) for key, v in _table(value, name)}


def _one_of(value: Any, kind: Any, name: str) -> Any:
    """Build the first kind that fits; the error is that of the first one."""
    errors = []
    for one in get_args(kind):
        try:
            return _typed(value, one, name)
        except WrongJsonError as error:
            errors.append(error)
    raise errors[0]


def _sequence(value: Any, kind: Any, name: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if not isinstance(value, (list, tuple)):
        raise _wrong(value, name, "a list")
    if origin is list or inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(value) != len(inner):
        raise _wrong(value, name, f"a list of {len(inner)}")
    return origin(
        _typed(item, one, f"{name}[{i}]")
        for i, (item, one) in enumerate(zip(value, inner, strict=True))
    )


_COMPOUND: dict[Any, Callable[[Any, Any, str], Any]] = {
    Annotated: _limited,
    Literal: _literal,
    Union: _one_of,
    types.UnionType: _one_of,
    dict: _dictionary,
    list: _sequence,
    tuple: _sequence,
}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(value: Any) -> bool:
    # Larger whole numbers cannot become floats.
    return (_whole(value) and abs(value) < 1 << 64) or (
        isinstance(value, float) and math.isfinite(value)
    )


_PLAIN: dict[Any, tuple[Callable[[Any], bool], str]] = {
    Any: (lambda value: True, "anything"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_whole, "a whole number"),
    float: (_finite, "a finite number"),
    str: (lambda value: isinstance(value, str), "text"),
    type(None): (lambda value: value is None, "null"),
}


def _dataclass(value: Any, kind: Any, name: str) -> Any:
    if isinstance(value, kind):
        return value
    members = _members(value, _hints(kind), name)
    try:
        return kind(**members)
    except UsageError as error:  # from its own check
        raise WrongJsonError(f"{name}: {error.what}, {error.why}".lstrip(": ")) from error


def _members(value: Any, hints: Mapping[str, Any], name: str) -> dict[str, Any]:
    given = dict(_table(value, name))
    if missing := hints.keys() - given.keys():
        raise WrongJsonError(f"it has no {_join(name, min(missing))}")
    if unknown := given.keys() - hints.keys():
        raise WrongJsonError(f"it has an unknown {_short(_join(name, min(unknown)))}")
    return {key: _typed(item, hints[key], _join(name, key)) for key, item in given.items()}


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _table(value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(value, name, "a table")
    return value.items()


def _join(name: str, key: str) -> str:
    shown = key if key.isprintable() and len(key) <= 60 else _short(key)
    return f"{name}.{shown}" if name else shown


def _wrong(value: Any, name: str, meaning: str) -> WrongJsonError:
    return WrongJsonError(f"{name or 'it'} is {_short(value)}, not {meaning}")


def _short(value: Any) -> str:
    text = reprlib.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
