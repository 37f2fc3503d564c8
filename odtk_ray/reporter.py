"""Receives the library's remarks and progress: the library prints nothing itself."""

from __future__ import annotations

import logging
from typing import Protocol


class Reporter(Protocol):
    """Receives remarks, and what to do about them; the command line prints them."""

    def note(self, text: str, hint: str = "") -> None:
        """Report something worth knowing."""

    def warn(self, text: str, hint: str = "") -> None:
        """Report something that is probably not what the user wants."""


class RunReporter(Reporter, Protocol):
    """Receives the remarks and the progress of a run."""

    def stage(self, text: str) -> None:
        """Report what the run does from now on, as "starting Ray"; comes from any thread."""

    def begin(self, total: int, done: int) -> None:
        """Report that detection starts; `done` images are finished by an earlier run."""

    def progress(self, done: int, failed: int) -> None:
        """Report how many images are done so far, and how many of those failed."""

    def windows(self, done: int, total: int) -> None:
        """Report, with `--tile`, how many of the windows that this run has to do are done."""

    def end(self) -> None:
        """Report that detection is over."""


class LogReporter:
    """Sends remarks to the logger `odtk_ray`, for programs that pass no reporter."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("odtk_ray")

    def note(self, text: str, hint: str = "") -> None:
        """See `Reporter`."""
        self._logger.info(_joined(text, hint))

    def warn(self, text: str, hint: str = "") -> None:
        """See `Reporter`."""
        self._logger.warning(_joined(text, hint))

    def stage(self, text: str) -> None:
        """See `RunReporter`."""
        self._logger.info("%s", text)

    def begin(self, total: int, done: int) -> None:
        """See `RunReporter`."""
        self._logger.info("detecting in %d images, %d are done", total, done)

    def progress(self, done: int, failed: int) -> None:
        """See `RunReporter`."""
        self._logger.debug("%d images are done, %d failed", done, failed)

    def windows(self, done: int, total: int) -> None:
        """See `RunReporter`."""
        self._logger.debug("%d of %d windows are done", done, total)

    def end(self) -> None:
        """See `RunReporter`."""


def _joined(text: str, hint: str) -> str:
    return f"{text} (hint: {hint})" if hint else text
