"""Counts what a run has done, and how fast: the start of the workers is left out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class RunCount:
    """Counts images or, where pictures are cut into windows, windows.

    Attributes:
        total: images of the run.
        before: images done by the run that this one resumes.
        done: images done, those before included.
        failed: images that failed.
        windows: windows done by this run.
        all_windows: windows that this run has to do; 0 without `--tile`.
    """

    total: int = 0
    before: int = 0
    done: int = field(init=False)
    failed: int = 0
    windows: int = 0
    all_windows: int = 0
    # Units done when the first were seen, and the time: speed counts from here.
    _first: tuple[int, float] | None = None

    def __post_init__(self) -> None:
        self.done = self.before

    def see_windows(self, done: int, total: int) -> None:
        """Take in how many windows are done."""
        # Those of a worker that died are done again.
        self.windows, self.all_windows = min(max(done, self.windows), total), total

    def see(self, done: int, failed: int) -> None:
        """Take in how many images are done and failed, after the windows."""
        # A shard that is run again after a crash starts from zero; the count does not go back.
        self.done, self.failed = max(done, self.done), failed
        if self._first is None and (self.done > self.before or self.windows):
            self._first = self.units, time.monotonic()

    @property
    def begun(self) -> bool:
        """Whether there is something to count."""
        return self._first is not None

    @property
    def unit(self) -> str:
        """What is counted, for a rate: `img` or `windows`."""
        return "windows" if self.all_windows else "img"

    @property
    def units(self) -> int:
        """Number of units done."""
        if not self.all_windows:
            return self.done
        # Pictures that failed had fewer windows than planned, or none.
        return self.all_windows if self.done == self.total else self.windows

    @property
    def parts(self) -> list[str]:
        """What is done of all, for people: images, and windows if there are any."""
        parts = [f"{self.done:,}/{self.total:,}"]
        if self.all_windows:
            parts.append(f"{self.units:,}/{self.all_windows:,} windows")
        return parts

    @property
    def all_units(self) -> int:
        """Number of units of the whole run."""
        return self.all_windows or self.total

    @property
    def rate(self) -> float:
        """Units a second since the first were done; 0 if there are none since."""
        if self._first is None:
            return 0.0
        units, since = self._first
        return (self.units - units) / max(time.monotonic() - since, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all is done at this rate; None if it is not known yet."""
        return (self.all_units - self.units) / self.rate if self.rate else None
