"""The last line of a terminal during a run: what is being done, then a bar."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from odtk_ray.cli.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from odtk_ray.cli.run_count import RunCount

# Characters of a line with room for a bar beside the figures, of which the time left comes last.
_WIDE = 80


class LiveLine:
    """Rewrites the last line of the terminal; what is printed meanwhile goes above it."""

    def __init__(self) -> None:
        self._line: Progress | None = None
        self._bar: TaskID | None = None

    def say(self, text: str) -> None:
        """Show what is being done, and for how long, in the place of what was shown."""
        from rich.progress import SpinnerColumn, TimeElapsedColumn

        self.stop()
        self._line = _make_line(SpinnerColumn(), _text(), TimeElapsedColumn(), transient=True)
        self._line.add_task(printable(text), total=None)
        self._line.start()

    def show(self, count: RunCount) -> None:
        """Show a bar, and figures beside it; where there is no room only the figures."""
        from rich.progress import BarColumn, TextColumn

        figures = _figures(count)
        if self._line is not None and self._bar is not None:
            self._line.update(self._bar, completed=count.units, description=figures)
            return
        self.stop()
        self._line = _make_line(TextColumn("detecting"), BarColumn(), _text(), transient=False)
        if self._line.console.width < _WIDE:
            self._line.columns = (_text(),)
        self._bar = self._line.add_task(figures, total=count.all_units, completed=count.units)
        self._line.start()

    def stop(self) -> None:
        """Remove what is being done; a bar stays where it is."""
        if self._line is not None:
            self._line.stop()
        self._line = self._bar = None


def _make_line(*columns: ProgressColumn, transient: bool) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    # What is printed meanwhile keeps its lines, so that paths and commands can be copied. Standard
    # output may be a pipe: its lines are not for the terminal.
    console = Console(stderr=True, soft_wrap=True)
    return Progress(*columns, console=console, transient=transient, redirect_stdout=False)


def _text() -> ProgressColumn:
    from rich.progress import TextColumn

    return TextColumn("{task.description}", markup=False)


def _figures(count: RunCount) -> str:
    figures = [*count.parts, f"{count.failed:,} failed"]
    if (left := count.seconds_left) is not None:
        figures += [f"{count.rate:,.1f} {count.unit}/s", str(timedelta(seconds=round(left)))]
    return "  ".join(figures)
