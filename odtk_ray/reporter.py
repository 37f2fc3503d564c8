"""Where the library's remarks go: it prints nothing itself."""

from __future__ import annotations

import logging
from typing import Protocol


class Reporter(Protocol):
    """Told what goes on; the command line prints it."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warn(self, text: str) -> None:
        """Something that is probably not as the user wants it."""


class RunReporter(Reporter, Protocol):
    """Where a run says what it does."""

    def begin(self, total: int, done: int) -> None:
        """Detection starts; `done` images are there from an earlier run."""

    def progress(self, done: int, failed: int) -> None:
        """Images done so far, failed ones among them."""

    def end(self) -> None:
        """Detection is over."""


class LogReporter:
    """Gives remarks to the logger `odtk_ray`, for programs that bring no reporter."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("odtk_ray")

    def note(self, text: str) -> None:
        """See `Reporter`."""
        self._logger.info(text)

    def warn(self, text: str) -> None:
        """See `Reporter`."""
        self._logger.warning(text)

    def begin(self, total: int, done: int) -> None:
        """See `RunReporter`."""
        self._logger.info("detecting in %d images, %d are done", total, done)

    def progress(self, done: int, failed: int) -> None:
        """See `RunReporter`."""
        self._logger.debug("%d images are done, %d failed", done, failed)

    def end(self) -> None:
        """See `RunReporter`."""
