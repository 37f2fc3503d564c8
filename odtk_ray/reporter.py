"""Where the library's remarks go: it prints nothing itself."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Told what goes on; the command line prints it."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warn(self, text: str) -> None:
        """Something that is probably not as the user wants it."""
