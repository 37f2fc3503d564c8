"""With the same plan the outputs have the same bytes, whatever happens on the way.

Threads a worker and launch batch are fixed, as the plan fixes them; everything else varies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from effort import long_case
from sessions import start_ray
from synthetic import Quiet, figures

from odtk_ray.cluster import dispatcher
from odtk_ray.cluster.worker_calls import WorkerCalls
from odtk_ray.config import InferConfig
from odtk_ray.run.pipeline import infer
from odtk_ray.settings import Preprocessing

pytestmark = pytest.mark.cluster

PREP = Preprocessing(resize=96, max_size=160)
OUTPUTS = ("out.json", "out.csv", "out.jsonl", "out.results.json", "out.parquet")


def config(checkpoint, photos, annotations, folder, workers, **more):
    settings = {
        "model": str(checkpoint),
        "images": str(photos),
        "annotations": str(annotations),
        "output": tuple(str(folder / name) for name in OUTPUTS),
        "batch": 2 * workers,  # two images a launch for any number of workers
        "workers": workers,
        "threads_per_worker": 1,
        "resize": PREP.resize,
        "max_size": PREP.max_size,
    }
    return InferConfig(**(settings | more))


def outputs(folder: Path) -> dict[str, object]:
    """The files of a run; of its metrics the figures, since options and pace are those of a run."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix != ".run")
    found: dict[str, object] = {name: (folder / name).read_bytes() for name in names}
    found["out.metrics.json"] = figures((folder / "out.metrics.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def undisturbed(head, checkpoint, photos, annotations, tmp_path_factory, small_shards):
    """The outputs of one worker that nothing happens to."""
    start_ray(head)
    folder = tmp_path_factory.mktemp("undisturbed")
    summary = infer(config(checkpoint, photos, annotations, folder, 1), Quiet())
    assert summary.failed == 0
    assert summary.detections > 200
    expected = outputs(folder)
    assert set(expected) == {*OUTPUTS, "out.metrics.json"}
    return expected


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    """Four images a shard, so that 26 pictures make a run worth disturbing."""
    from odtk_ray.shards import cut_shards

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut_shards, "shard_size", lambda images, launch_batch: 4)
        yield


@pytest.mark.parametrize("workers", [2, long_case(4)])
def test_number_of_workers(undisturbed, checkpoint, photos, annotations, tmp_path, quiet, workers):
    infer(config(checkpoint, photos, annotations, tmp_path, workers), quiet)
    assert outputs(tmp_path) == undisturbed


def test_one_process_without_ray(undisturbed, checkpoint, photos, annotations, tmp_path, quiet):
    infer(config(checkpoint, photos, annotations, tmp_path, 1, local=True), quiet)
    assert outputs(tmp_path) == undisturbed


def test_tiles_of_a_rotated_model(
    ray_session, rotated_checkpoint, photos, annotations, tmp_path, quiet
):
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        cut = {"tile": 80, "overlap": 16}
        run = config(rotated_checkpoint, photos, annotations, folder, workers, limit=6, **cut)
        assert infer(run, quiet).detections > 100
        found.append(outputs(folder))
    assert found[0] == found[1]


def test_order_of_dispatch(
    undisturbed, checkpoint, photos, annotations, tmp_path, quiet, monkeypatch
):
    run = dispatcher.Dispatcher.run
    monkeypatch.setattr(
        dispatcher.Dispatcher, "run", lambda self, shards: run(self, reversed(list(shards)))
    )
    infer(config(checkpoint, photos, annotations, tmp_path, 2), quiet)
    assert outputs(tmp_path) == undisturbed


# The command line with small shards, which signals itself soon after its second commit, with five
# shards to go: nobody else would be sure to be in time. Signal 0 does nothing.
PROGRAM = """
import os, sys, threading
from odtk_ray.shards import cut_shards
from odtk_ray.shards.run_folder import RunFolder
cut_shards.shard_size = lambda images, launch_batch: 4
signals, commit = [int(sys.argv.pop(1))], RunFolder.commit

def stopped(self, *receipts):
    commit(self, *receipts)
    if signals and len(self.committed) >= 2:
        threading.Timer(0.05, os.kill, (os.getpid(), signals.pop())).start()

RunFolder.commit = stopped
from odtk_ray.cli.process import main
main()
"""


def command(checkpoint, photos, annotations, folder, workers, *more, how=0):
    return [
        *(sys.executable, "-c", PROGRAM, str(int(how)), "infer", str(checkpoint)),
        *("--images", str(photos), "--annotations", str(annotations)),
        *(part for name in OUTPUTS for part in ("--output", str(folder / name))),
        *("--batch", str(2 * workers), "--workers", str(workers)),
        *("--resize", "96", "--max-size", "160"),
        *more,
    ]


def stop_and_resume(start, resume, head, folder, how):
    """A run that signals itself, and one that goes on; on this process's cluster, if on any."""
    stopped = subprocess.run(start, capture_output=True, check=False)
    assert stopped.returncode == (-how if how == signal.SIGKILL else 1)
    if how != signal.SIGKILL:
        assert b"--resume" in stopped.stderr
        assert b"Traceback" not in stopped.stderr
    assert not (folder / "out.json").exists()
    on_head = os.environ | {"RAY_ADDRESS": head.address}
    done = subprocess.run(resume, env=on_head, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"resuming: " in done.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, long_case(signal.SIGTERM), signal.SIGINT])
def test_driver_is_stopped_and_resumed_with_other_workers(
    undisturbed, head, checkpoint, photos, annotations, tmp_path, how
):
    """It has a Ray of its own; the resumed run goes to this process's."""
    inputs = (checkpoint, photos, annotations, tmp_path)
    start = command(*inputs, 1, "--threads-per-worker", "1", how=how)
    stop_and_resume(start, command(*inputs, 2, "--resume"), head, tmp_path, how)
    assert outputs(tmp_path) == undisturbed


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_one_process_is_stopped_and_resumed(
    undisturbed, head, checkpoint, photos, annotations, tmp_path, how
):
    """After SIGKILL by the workers of a cluster, after SIGINT by one process again."""
    inputs = (checkpoint, photos, annotations, tmp_path)
    start = command(*inputs, 1, "--threads-per-worker", "1", "--local", how=how)
    workers, more = (2, ()) if how == signal.SIGKILL else (1, ("--local",))
    stop_and_resume(start, command(*inputs, workers, "--resume", *more), head, tmp_path, how)
    assert outputs(tmp_path) == undisturbed


def test_worker_killed_in_mid_shard(
    undisturbed, checkpoint, photos, annotations, tmp_path, quiet, monkeypatch
):
    """SIGKILL to one of two workers once it has done the first half of a shard."""
    pids: list[int] = []
    submit = WorkerCalls.submit

    def kill_once(self, assignment):
        submit(self, assignment)
        if not pids and assignment.attempt > 4:
            pids.append(_process_of(self.actor(assignment.worker)))
            os.kill(pids[0], signal.SIGKILL)

    monkeypatch.setattr(WorkerCalls, "submit", kill_once)
    infer(config(checkpoint, photos, annotations, tmp_path, 2), quiet)
    assert pids
    assert outputs(tmp_path) == undisturbed


def _process_of(actor) -> int:
    from ray.util.state import get_actor

    return ray_pid(actor) or get_actor(actor._actor_id.hex()).pid


def ray_pid(actor) -> int:
    import ray

    return ray.get(
        actor.__ray_call__.options(concurrency_group="watch").remote(lambda _: os.getpid())
    )
