"""The events of a run: what its drivers did and said, kept in its folder for `odtk-ray status`."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import Annotated, Literal

from odtk_ray.shards.journal import EVENTS, open_journal
from odtk_ray.typed_json import Range, WrongJsonError, parse_json, typed

_PATIENCE = 10.0  # seconds

EventKind = Literal["begin", "stage", "note", "warning", "stopped", "finished"]


@dataclass(frozen=True)
class RunEvent:
    """One event.

    Attributes:
        at: seconds since 1970, by the driver's clock.
        epoch: the driver's number.
        kind: a driver begins, what it does from now on, a remark of either kind, a
            driver ends before the run does, or with it.
        text: for people.
        hint: what to do about it.
    """

    at: Annotated[float, Range(0)]
    epoch: Annotated[int, Range(0)]
    kind: EventKind
    text: str
    hint: str = ""


class EventLog:
    """Stores a driver's events, in a thread of its own: the driver does not wait for storage.

    Events are for people: one that cannot be stored is lost, and the run goes on.

    Args:
        run_folder: path or URI.
        digest: of the run plan.
        epoch: of the driver.
    """

    def __init__(self, run_folder: str, digest: str, epoch: int) -> None:
        self._journal = open_journal(run_folder, EVENTS, digest, epoch)
        self._waiting: SimpleQueue[RunEvent | None] = SimpleQueue()  # None ends the thread
        # A process that ends does not wait for a daemon.
        self._thread = threading.Thread(target=self._write, name="events", daemon=True)
        self._thread.start()

    def add(self, event: RunEvent) -> None:
        """Store an event, soon; any thread may."""
        self._waiting.put(event)

    def close(self) -> None:
        """Wait until all are stored, or for some seconds if storage is away."""
        self._waiting.put(None)
        self._thread.join(_PATIENCE)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            self._journal.read()  # finds out whether an earlier driver left a torn line
        while (event := self._waiting.get()) is not None:
            with contextlib.suppress(OSError):
                self._journal.append([json.dumps(asdict(event))])


def read_events(run_folder: str, digest: str) -> list[RunEvent]:
    """Return the events of a run, oldest first, without lines that are damaged.

    Args:
        run_folder: path or URI.
        digest: of the run plan.

    Raises:
        OSError: they cannot be read.
    """
    events = []
    for line in open_journal(run_folder, EVENTS, digest).read():
        with contextlib.suppress(WrongJsonError):
            events.append(typed(parse_json(line), RunEvent))
    return events
