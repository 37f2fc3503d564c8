"""Where the state of a run lies: while it works, and where it is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass


def folder_beside(output: str) -> str:
    """Return the run folder of an output, unless another one was given."""
    return f"{output}.run"


@dataclass(frozen=True)
class RunPlace:
    """The folders of a run; they differ for an update in place alone.

    Attributes:
        kept: run folder after success, where it stays; of an update in place the earlier run's.
        working: run folder until then.
    """

    kept: str
    working: str

    @classmethod
    def of(cls, output: str, run_dir: str | None, update: str | None) -> RunPlace:
        """Place a run.

        Args:
            output: its first output.
            run_dir: its run folder, if it is given.
            update: output or run folder of the earlier run that it updates, if it does.
        """
        kept = run_dir or folder_beside(output)
        own = map(os.path.normpath, (kept, output))
        in_place = update is not None and os.path.normpath(update) in own
        return cls(kept, f"{kept}.new" if in_place else kept)

    @property
    def in_place(self) -> bool:
        """Whether the run updates the run that its folder is of."""
        return self.working != self.kept
