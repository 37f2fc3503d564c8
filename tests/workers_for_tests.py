"""Actors in the place of a run's workers."""

from __future__ import annotations

import threading
import time

from odtk_ray.dispatch.worker_state import Progress
from odtk_ray.shards.shard_file import Receipt

_PATIENCE = 90.0  # seconds; only a driver that does not do its part lets them pass


class _Scripted:
    """Gives receipts that bear its name as the engine; takes shards in order, as a worker does."""

    def __init__(self, name, signs):
        self._name, self._signs = name, signs
        self._recalled, self._asked, self._turn = set(), threading.Event(), threading.Lock()

    def progress(self):
        return Progress({}, 0, False, self._name)

    def recall(self, shard):
        self._recalled.add(shard)
        self._asked.set()

    def run(self, block, work):
        with self._turn:
            if work.shard in self._recalled:
                self._recalled.remove(work.shard)
                return None
            self._read()
        self._detect()
        (self._signs / f"{self._name}-{work.shard}").touch()
        return Receipt(work.shard, "", "", work.length, 0, 0, self._name)

    def _read(self):
        """What nothing else can begin before."""

    def _detect(self):
        pass

    def _wait_for(self, names):
        end = time.monotonic() + _PATIENCE
        while not all((self._signs / name).exists() for name in names):
            if time.monotonic() > end:
                raise RuntimeError(f"{', '.join(names)}: this did not happen")
            time.sleep(0.02)


class HoldingWorker(_Scripted):
    """Reads shard 0 until another one is recalled, and goes on when `others` are done."""

    def __init__(self, name, signs, others):
        super().__init__(name, signs)
        self._others = others

    def run(self, block, work):
        if work.shard != 0:  # the threads of two calls may start in any order
            self._wait_for(["begun"])
        return super().run(block, work)

    def _read(self):
        (self._signs / "begun").touch()
        if not self._asked.wait(_PATIENCE):
            raise RuntimeError("nobody recalls what waits here")

    def _detect(self):
        self._wait_for(self._others)


class LateWorker(_Scripted):
    """Starts when a `HoldingWorker` has begun."""

    def __init__(self, name, signs):
        super().__init__(name, signs)
        self._wait_for(["begun"])
