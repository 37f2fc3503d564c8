"""The known name that a mistyped one is likely to stand for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelled most like `name`, case aside; None if none is close.

    Args:
        name: as it was given.
        known: names that would have been understood; of two that differ in case the first counts.
    """
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(candidate.casefold(), candidate)
    found = get_close_matches(name.casefold(), folded, n=1)
    return folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question for a hint, `did you mean NAME?`; empty if no known name is close."""
    found = nearest(name, known)
    return f"did you mean {found}?" if found else ""
