"""Counted nouns for messages: "1 image", "1,234 images"."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, thousands separated by commas.

    Args:
        count: how many.
        one: the noun for one of them.
        many: the noun for any other number; empty appends an s to `one`.
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
