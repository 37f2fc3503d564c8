"""The ids of images and categories: text, or whole numbers, of which equal ones are the same id."""

from __future__ import annotations

import json


def is_id(value: object) -> bool:
    """Return whether a JSON value can be an id: text, or a whole number such as 1.0."""
    return isinstance(value, str) or type(value) is int or _is_whole(value)


def id_text(value: object) -> str:
    """Return the JSON text by which an id is looked up: 1 and 1.0 give `1`, "1" gives `"1"`.

    Any other JSON value gives its own text, which is no id's.
    """
    if type(value) is int or _is_whole(value):
        return str(int(value))  # type: ignore[call-overload]
    return json.dumps(value)


def _is_whole(value: object) -> bool:
    return type(value) is float and value.is_integer()
