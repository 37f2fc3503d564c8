"""What a run looks like: a live bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from odtk_ray.cli.colours import echo
from odtk_ray.cli.printable import cut, printable
from odtk_ray.plural import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from odtk_ray.evaluation.metrics import Metrics
    from odtk_ray.run.pipeline import Summary

_CELL = 60  # characters of a class' name in a table, whose rows are as wide as its widest cell
_LINE_INTERVAL = 10.0  # seconds between lines where there is no terminal


class Console:
    """The command line's `RunReporter`: remarks and progress go to standard error.

    Args:
        quiet: leave out everything but warnings.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._total = self._before = self._done = self._failed = 0
        self._started = self._spoken = time.monotonic()

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_bar()

    def note(self, text: str, hint: str = "") -> None:
        """See `RunReporter`."""
        if not self._quiet:
            _remark("note", text, hint)

    def notes(self, texts: Iterable[str]) -> None:
        """Say several notes."""
        for text in texts:
            self.note(text)

    def warn(self, text: str, hint: str = "") -> None:
        """See `RunReporter`."""
        _remark("warning", text, hint)

    def begin(self, total: int, done: int) -> None:
        """See `RunReporter`."""
        self._total, self._before, self._done = total, done, done
        self._started = self._spoken = time.monotonic()
        if sys.stderr.isatty() and not self._quiet:
            self._start_bar()

    def progress(self, done: int, failed: int) -> None:
        """See `RunReporter`."""
        # A shard that is run again after a crash starts from zero; the bar does not go back.
        self._done, self._failed = max(done, self._done), failed
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=self._done, failed=failed, rate=f"{self._rate():.1f}"
            )
        elif not self._quiet and time.monotonic() - self._spoken >= _LINE_INTERVAL:
            self._spoken = time.monotonic()
            echo(self._line(), err=True)

    def end(self) -> None:
        """See `RunReporter`."""
        self._stop_bar()

    def _rate(self) -> float:
        return (self._done - self._before) / max(time.monotonic() - self._started, 1e-9)

    def _line(self) -> str:
        rate = self._rate()
        left = f"{(self._total - self._done) / rate:,.0f} s left" if rate else "starting"
        return (
            f"[{self._done:,}/{self._total:,}] {self._failed:,} failed, {rate:,.1f} img/s, {left}"
        )

    def _start_bar(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("detecting"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]:,} failed"),
            TextColumn("{task.fields[rate]} img/s"),
            TimeRemainingColumn(),
            console=RichConsole(stderr=True),
        )
        self._task = self._bar.add_task(
            "", total=self._total, completed=self._done, failed=0, rate="-"
        )
        self._bar.start()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _remark(label: str, text: str, hint: str) -> None:
    echo(text, label=label, err=True)
    if hint:
        echo(hint, label="hint", indent=2, err=True)


def print_summary(summary: Summary, *, quiet: bool) -> None:
    """Print the figures against the ground truth, if any, and what the run did.

    Args:
        summary: of the run.
        quiet: leave out what the run did.
    """
    if summary.scores is not None:
        _print_metrics(summary.scores.metrics)
        if summary.scores.exact is not None:
            echo("the same by exact polygons, without pixels:")
            _print_metrics(summary.scores.exact)
    if quiet:
        return
    rate = summary.detected / summary.seconds if summary.seconds > 0 else 0.0
    on = counted(summary.fleet.workers, "GPU" if summary.fleet.gpus else "CPU worker")
    echo(
        f"{counted(summary.images, 'image')}, {counted(summary.detections, 'detection')}, "
        f"{summary.failed:,} failed, {rate:,.1f} img/s on {on}",
        label="done",
    )
    echo(f"wrote {', '.join(summary.files)}")


def _print_metrics(metrics: Metrics) -> None:
    for line in metrics.lines():
        echo(line)
    echo()
    _print_table(metrics.table())
    echo()
    if min(metrics.stats.values()) < 0:
        echo(
            "-1.000 stands for: the ground truth has no such boxes to find", label="note", err=True
        )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell: a heading, text first, then figures."""
    rows = [[cut(printable(cell), _CELL) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join([row[0].ljust(widths[0]), *cells[1:]])
        echo(line, bold=number == 0)
