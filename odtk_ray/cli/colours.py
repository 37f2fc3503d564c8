"""Colours of what is printed: on a terminal, unless NO_COLOR is set; elsewhere with FORCE_COLOR."""

from __future__ import annotations

import os
from typing import Any

import click

# Of the words that begin a line.
_LABELS: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "note": {"fg": "cyan"},
    "hint": {"fg": "cyan"},
    "done": {"fg": "green"},
}


def label(word: str) -> str:
    """Return a word that begins a line, with its colon, in its colour."""
    return click.style(f"{word}:", **_LABELS[word])


def echo(text: str, *, err: bool = False) -> None:
    """Print a line to standard output, or standard error; colours only where they are wanted.

    Half characters (lone surrogates), which names in JSON may have, are printed as escapes.
    """
    printable = text.encode(errors="backslashreplace").decode()
    click.echo(printable, err=err, color=_wanted())


def _wanted() -> bool | None:
    """Whether colours are kept; None leaves it to click: on a terminal."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return True if os.environ.get("FORCE_COLOR") else None
