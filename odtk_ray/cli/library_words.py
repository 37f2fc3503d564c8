"""What libraries say through Python itself: warnings, log records, errors that nobody can catch.

Python would print them as they are, with places in their code, and some quote files.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TYPE_CHECKING, TextIO

from odtk_ray.cli import stop_signals
from odtk_ray.cli.colours import echo

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def show_as_ours() -> None:
    """Have this process show what libraries say as our own warnings, a line each."""
    warnings.showwarning = _show_warning
    sys.unraisablehook = _show_unraisable
    logging.lastResort = _LastResort(logging.WARNING)  # of records that no handler takes


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _warn(f"{message}" or category.__name__)


def _show_unraisable(found: UnraisableHookArgs) -> None:
    """Show an error in a destructor, which stops nothing."""
    if issubclass(found.exc_type, KeyboardInterrupt):
        stop_signals.forget()
        _warn("it could not be stopped at this moment: ask again")
        return
    _warn(f"{found.exc_type.__name__}: {found.exc_value} (ignored)")


class _LastResort(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _warn(record.getMessage())


def _warn(text: str) -> None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    echo(" ".join(lines), label="warning", err=True)
