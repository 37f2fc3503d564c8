"""Entries of COCO files that every reader needs, and the errors of files that have none."""

from __future__ import annotations

import json
from typing import Any

from odtk_ray.datasets.ids import id_text, is_id
from odtk_ray.errors import UsageError


def checked_id(path: str, value: object, owner: str) -> str:
    """Return the JSON text of an id.

    Args:
        path: the annotation file.
        value: the id.
        owner: what has it, for the message.

    Raises:
        UsageError: it is neither text nor a whole number.
    """
    if not is_id(value):
        why = f"the id of {owner} is {json.dumps(value)}, neither text nor a whole number"
        raise malformed(path, why)
    return id_text(value)


def read_categories(path: str, items: list[Any]) -> list[dict[str, Any]]:
    """Return entries of `categories`, each an object with an id.

    Raises:
        UsageError: one is not.
    """
    for item in items:
        if not isinstance(item, dict):
            raise malformed(path, "an entry of `categories` is not an object")
        checked_id(path, item.get("id"), f"category {json.dumps(item.get('name'))}")
    return items


def check_categories(path: str, categories: list[dict[str, Any]]) -> None:
    """Refuse categories of one id.

    Raises:
        UsageError: there are some.
    """
    ids = [id_text(category["id"]) for category in categories]
    if len(set(ids)) < len(ids):
        raise malformed(path, "two of its categories have the same id")


def malformed(path: str, why: str) -> UsageError:
    """Return the error of a file that is no COCO file."""
    return UsageError(f"{path} is not a usable COCO annotation file", why)


def unreadable(path: str, error: OSError) -> UsageError:
    """Return the error of a file that cannot be read."""
    return UsageError(f"cannot read {path}", error.strerror or str(error))
