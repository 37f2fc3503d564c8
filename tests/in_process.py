"""Runs whose workers are objects of this process instead of Ray's actors.

All that a run does by itself is the real thing: plan, engines, shard files, commits, outputs. What
Ray does is missing: other processes, the object store, placement. For tests of neither it saves
the start of the workers' processes, which is most of a short run's time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import pytest
from sessions import start_ray

from odtk_ray.cluster import worker
from odtk_ray.cluster.node_selection import NodeSelection
from odtk_ray.cluster.session import Fleet
from odtk_ray.cluster.shard_blocks import ShardRef
from odtk_ray.cluster.worker import ShardWork, Worker
from odtk_ray.records import WORK_COLUMNS
from odtk_ray.run import pipeline


class _Session:
    """A session with nothing behind it, started here."""

    def __init__(self, address, cpus):
        assert address is None

    def __enter__(self):
        return True

    def __exit__(self, *error):
        return None


def _fleet(workers, threads, *, local, left_out):
    return Fleet(workers or 1, False, threads or 1)


def _store_shards(records, shards):
    columns = records.select(list(WORK_COLUMNS))
    return {s.number: ShardRef(columns.take(s.rows), 0, len(s)) for s in shards}


def _starter(fleet, nodes, settings, make_engine):
    return lambda: Worker(settings, make_engine)


class _Dispatcher:
    """In the place of cluster/dispatcher.py: shard after shard, to one worker after the other."""

    def __init__(self, start, workers, refs, rows, *, epoch, commit, observer, progress, **_):
        self._start, self._count, self._refs, self._epoch = start, workers, refs, epoch
        self._commit, self._observer, self._progress = commit, observer, progress

    def run(self, shards):
        workers = [self._start() for _ in range(self._count)]
        turns = itertools.cycle(workers)
        for number, shard in enumerate(shards):
            ref = self._refs[shard]
            attempt = f"{self._epoch}.{number}"
            work = ShardWork(ref.offset, ref.length, shard, attempt, frozenset(), singly=False)
            self._commit(next(turns).run(ref.block, work))
            self._progress(0, sum(worker.progress().tiles for worker in workers))
        self._observer.close()


@contextlib.contextmanager
def runs_anywhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs within have their workers in this process; with --all they have Ray after all."""
    if request.config.getoption("--all"):
        start_ray(request.getfixturevalue("head"))
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        yield


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Give runs workers of this process, whatever was asked for."""
    patch.setattr(pipeline, "session", _Session)
    patch.setattr(pipeline, "select_nodes", lambda *_: NodeSelection())
    patch.setattr(pipeline, "choose_fleet", _fleet)
    patch.setattr(pipeline, "store_shards", _store_shards)
    patch.setattr(pipeline, "worker_starter", _starter)
    patch.setattr(pipeline, "Dispatcher", _Dispatcher)
    patch.setattr(worker, "worker_name", lambda: "this process")
    patch.setattr(worker, "check_access", lambda settings: None)
