"""A reporter that says nothing, which benchmarks extend by what they want to know."""

from __future__ import annotations


class Silent:
    """Says nothing."""

    def note(self, text: str, hint: str = "") -> None:
        """Ignore it."""

    def warn(self, text: str, hint: str = "") -> None:
        """Ignore it."""

    def stage(self, text: str) -> None:
        """Ignore it."""

    def begin(self, total: int, done: int) -> None:
        """Ignore it."""

    def windows(self, done: int, total: int) -> None:
        """Ignore it."""

    def progress(self, done: int, failed: int) -> None:
        """Ignore it."""

    def end(self) -> None:
        """Ignore it."""
