"""The one place that prints: everything but our own text is made fit for a terminal first.

Colours are kept on a terminal, unless NO_COLOR is set, and elsewhere with FORCE_COLOR.
"""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

import click

from odtk_ray.cli.printable import message, printable

# Of the words that begin a line.
_LABELS: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow"},
    "note": {"fg": "cyan"},
    "hint": {"fg": "cyan"},
    "done": {"fg": "green"},
    "ok": {"fg": "green"},
    "problem": {"fg": "red", "bold": True},
}


def echo(
    text: str = "", *, label: str = "", indent: int = 0, bold: bool = False, err: bool = False
) -> None:
    """Print one line to standard output, or standard error, whatever files have put into it.

    Args:
        text: may hold names and words from files; newlines are escaped too.
        label: a word in front of it, in its colour: such as `error` or `hint`.
        indent: spaces in front of it all.
        bold: print it so.
        err: to standard error.
    """
    shown = message(text) if label else printable(text)
    if bold:
        shown = click.style(shown, bold=True)
    if label:
        shown = f"{click.style(f'{label}:', **_LABELS[label])} {shown}"
    _print(" " * indent + shown, err)


def echo_own(text: str, *, err: bool = False) -> None:
    """Print text of which nothing comes from files: help, scripts for shells, JSON in ASCII."""
    _print(text, err)


def _print(text: str, err: bool) -> None:
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    # By name: else click would write to the file behind the stream, into a line that is live.
    click.echo(text, file=stream, color=_wanted(stream))


def _wanted(stream: TextIO) -> bool:
    """Whether colours are kept."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # Before version 15 what Rich puts in the stream's place says that it is no terminal.
    behind: TextIO = getattr(stream, "rich_proxied_file", stream)
    return bool(os.environ.get("FORCE_COLOR")) or behind.isatty()
