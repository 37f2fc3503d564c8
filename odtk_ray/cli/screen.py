"""What a run looks like: a live line on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from odtk_ray.cli.colours import echo
from odtk_ray.cli.live_line import LiveLine
from odtk_ray.cli.printable import cut, printable
from odtk_ray.cli.run_count import RunCount
from odtk_ray.plural import counted

if TYPE_CHECKING:
    from odtk_ray.evaluation.analysis import Analysis
    from odtk_ray.evaluation.comparison import Comparison
    from odtk_ray.evaluation.metrics import Metrics
    from odtk_ray.run.summary import Summary
    from odtk_ray.worker.fleet import Fleet

_CELL = 60  # characters of a class' name in a table, whose rows are as wide as its widest cell
_NAMES = 4  # of workers, in the last line
_LINE_INTERVAL = 10.0  # seconds between lines where there is no terminal


class Console:
    """The command line's `RunReporter`: remarks and progress go to standard error.

    Args:
        quiet: leave out everything but warnings.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = LiveLine() if _can_rewrite_lines() and not quiet else None
        self._stage = ""
        self._count: RunCount | None = None  # while images are detected in
        self._spoken = time.monotonic()
        self._lock = threading.Lock()  # stages come from any thread

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

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

    def stage(self, text: str) -> None:
        """See `RunReporter`."""
        with self._lock:
            self._stage = text
            if self._count is not None and self._count.begun:
                return  # the bar says more
            if self._live is not None:
                self._live.say(text)
            else:
                self._speak(text)

    def begin(self, total: int, done: int) -> None:
        """See `RunReporter`."""
        with self._lock:
            self._count = RunCount(total, done)

    def windows(self, done: int, total: int) -> None:
        """See `RunReporter`."""
        with self._lock:
            if self._count is not None:
                self._count.see_windows(done, total)

    def progress(self, done: int, failed: int) -> None:
        """See `RunReporter`."""
        with self._lock:
            if self._count is None:
                return
            self._count.see(done, failed)
            if self._live is None:
                self._speak(_line(self._count, self._stage))
            elif self._count.begun:
                self._live.show(self._count)

    def end(self) -> None:
        """See `RunReporter`."""
        with self._lock:
            self._count = None
            if self._live is not None:
                self._live.stop()

    def _speak(self, text: str) -> None:
        """Print a line, unless another was printed lately."""
        if not self._quiet and time.monotonic() - self._spoken >= _LINE_INTERVAL:
            self._spoken = time.monotonic()
            echo(text, err=True)


def _can_rewrite_lines() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _line(count: RunCount, stage: str) -> str:
    done = f"[{', '.join(count.parts)}]"
    if not count.begun:
        return f"{done} {stage}"
    line = f"{done} {count.failed:,} failed"
    if (left := count.seconds_left) is None:
        return line
    return f"{line}, {count.rate:,.1f} {count.unit}/s, {left:,.0f} s left"


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
        print_analysis(summary.scores.analysis)
    if quiet:
        return
    rate = summary.detected / summary.seconds if summary.seconds > 0 else 0.0
    on = describe_fleet(summary.fleet)
    echo(
        f"{counted(summary.images, 'image')}, {counted(summary.detections, 'detection')}, "
        f"{summary.failed:,} failed, {rate:,.1f} img/s on {on}",
        label="done",
    )
    if summary.update is not None:
        echo(f"of the images {summary.update}")
    echo(f"wrote {', '.join(summary.files)}")


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and texts in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        echo(f"{name:<{width}}  {text}")


def describe_fleet(fleet: Fleet) -> str:
    """Say how many workers a run began with, and which ones there were at the end."""
    on, there = counted(fleet.workers, "GPU" if fleet.gpus else "CPU worker"), len(fleet.names)
    if there == fleet.workers == 1 or not there:
        return on
    if there != fleet.workers:
        on += f", at the end {there}"
    more = f" and {there - _NAMES} more" if there > _NAMES else ""
    return f"{on}: {', '.join(fleet.names[:_NAMES])}{more}"


def print_analysis(analysis: Analysis) -> None:
    """Print COCO's figures, and tables of classes, errors, sizes and confused classes."""
    from odtk_ray.evaluation import tables

    _print_figures(analysis.metrics)
    _print_block(tables.class_table(analysis))
    if analysis.exact is not None:
        echo("the same by exact polygons, without pixels:")
        _print_figures(analysis.exact)
        _print_block(analysis.exact.table())
    echo(f"at the thresholds for {analysis.goal}, IoU 0.5:")
    for rows in (
        tables.error_table(analysis),
        tables.size_table(analysis),
        tables.confusion_table(analysis),
    ):
        _print_block(rows)


def print_comparison(found: Comparison) -> None:
    """Print how each detector differs from the first: in words, and in tables."""
    from odtk_ray.evaluation import comparison_tables as tables

    for pair in found.pairs:
        echo(f"a: {pair.a.name}")
        echo(f"b: {pair.b.name}")
        echo()
        if pair.differences:
            _print_block(tables.figure_table(pair, found.level))
            echo(tables.verdict(pair, found.level))
            echo()
            _print_block(tables.class_table(pair, found.names))
        echo(tables.match_line(pair))
        echo()
        for rows in (tables.alone_table(pair, found.names), tables.image_table(found, pair)):
            _print_block(rows)


def _print_figures(metrics: Metrics) -> None:
    for line in metrics.lines():
        echo(line)
    echo()
    if min(metrics.stats.values()) < 0:
        echo(
            "-1.000 stands for: the ground truth has no such boxes to find", label="note", err=True
        )


def _print_block(rows: Sequence[Sequence[str]]) -> None:
    """Print a table and a blank line; nothing where there is only a heading."""
    if len(rows) > 1:
        print_table(rows)
        echo()


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest cell: a heading, text first, then figures."""
    rows = [[cut(printable(cell), _CELL) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join([row[0].ljust(widths[0]), *cells[1:]])
        echo(line, bold=number == 0)
