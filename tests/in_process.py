"""Runs whose worker is this process, as with `--local`, whatever was asked for.

What Ray does is missing: other processes, the object store, placement. For tests of neither it
saves the start of the workers' processes, which is most of a short run's time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sessions import start_ray

from odtk_ray.cluster.local_workers import local_workers
from odtk_ray.run import prepare_run
from odtk_ray.worker.fleet import Fleet


@contextlib.contextmanager
def _workers(wanted, reporter):
    """One worker that counts as many: the number decides about launches and shards."""
    config = replace(wanted.config, workers=None, address=None)
    with local_workers(replace(wanted, config=config), reporter) as workers:
        workers.fleet = Fleet(wanted.config.workers or 1, False, wanted.threads or 1)
        yield workers


@contextlib.contextmanager
def runs_anywhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs within have their worker in this process; with --all they have Ray after all."""
    if request.config.getoption("--all"):
        start_ray(request.getfixturevalue("head"))
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        yield


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Give runs the worker of this process, whatever was asked for."""
    patch.setattr(prepare_run, "open_workers", _workers)
