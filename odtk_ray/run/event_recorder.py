"""Keeps what a run reports in its run folder too, so that `odtk-ray status` shows it anywhere."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import TracebackType

from odtk_ray.errors import OdtkError
from odtk_ray.plural import counted
from odtk_ray.reporter import RunReporter
from odtk_ray.shards.run_events import EventKind, EventLog, RunEvent
from odtk_ray.shards.run_folder import RunFolder


class EventRecorder:
    """Passes a run's reports on, and stores stages and remarks as events of its folder.

    A context manager: at its end it stores how the driver ended.

    Args:
        reporter: receives everything.
    """

    def __init__(self, reporter: RunReporter) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()  # reports come from any thread
        self._early: list[RunEvent] = []  # what was said before there was a folder
        self._log: EventLog | None = None
        self._epoch = 0

    def __enter__(self) -> EventRecorder:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if error is not None:
            self.close("stopped", _reason(error))

    def attach(self, run: RunFolder) -> None:
        """Store the events in a run folder, which this driver has taken over."""
        left = counted(len(run.plan.records) - run.images_done, "image")
        with self._lock:
            self._epoch = run.epoch
            self._log = EventLog(run.path, run.digest, run.epoch)
            for event in self._early:
                self._log.add(RunEvent(event.at, run.epoch, event.kind, event.text, event.hint))
        self._add("begin", f"process {os.getpid()} on {socket.gethostname()} has {left} to do")

    def close(self, kind: EventKind, text: str) -> None:
        """Store how the driver ended, and nothing after it."""
        self._add(kind, text)
        with self._lock:
            log, self._log, self._early = self._log, None, []
        if log is not None:
            log.close()

    def note(self, text: str, hint: str = "") -> None:
        """See `Reporter`."""
        self._add("note", text, hint)
        self._reporter.note(text, hint)

    def warn(self, text: str, hint: str = "") -> None:
        """See `Reporter`."""
        self._add("warning", text, hint)
        self._reporter.warn(text, hint)

    def stage(self, text: str) -> None:
        """See `RunReporter`."""
        self._add("stage", text)
        self._reporter.stage(text)

    def begin(self, total: int, done: int) -> None:
        """See `RunReporter`."""
        self._reporter.begin(total, done)

    def progress(self, done: int, failed: int) -> None:
        """See `RunReporter`."""
        self._reporter.progress(done, failed)

    def windows(self, done: int, total: int) -> None:
        """See `RunReporter`."""
        self._reporter.windows(done, total)

    def end(self) -> None:
        """See `RunReporter`."""
        self._reporter.end()

    def _add(self, kind: EventKind, text: str, hint: str = "") -> None:
        with self._lock:
            event = RunEvent(time.time(), self._epoch, kind, text, hint)
            if self._log is not None:
                self._log.add(event)
            else:
                self._early.append(event)


def _reason(error: BaseException) -> str:
    """Return why a run stops, in one line."""
    if isinstance(error, KeyboardInterrupt):
        return "it was asked to"
    if isinstance(error, OdtkError):
        return error.sentence
    return f"{type(error).__name__}: {error}".splitlines()[0]
