"""Measures how many shards per second one driver hands out, and planning and merging of millions.

A run of 10 million images has 20,000 cut. This one has as many with fewer images, planned from
an annotation file and empty pictures. Its queue, journal, shard files and Ray are real; some actors
stand for all workers, and answer at once or after the seconds that a shard is to take. The goal is
5 ms of the driver for each shard.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from inputs import write_model
from measure import TreeCpu, Usage, cpu_seconds, end_stage, load, machine, stage, table
from memory import CLASSES, file_name, image_entry, merge, plan, reopened, settings, touch
from overhead import DETECTIONS, StoredEngine

from odtk_ray.cluster.actor import WATCH, Worker
from odtk_ray.dispatch.worker_state import DEPTH
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.records import ImageResult
from odtk_ray.run.outputs import write_outputs
from odtk_ray.shards import cut_shards
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.worker.shard_work import ShardWork, WorkerSettings
from odtk_ray.worker.warm_up import Needs

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from odtk_ray.shards.run_folder import RunFolder

STAGES = ("input", "plan", "dispatch", "merge", "merge to Parquet")
SMALL = 100  # so many times smaller is the run that tells what a stage takes however few images


@dataclass(frozen=True)
class Case:
    """One run of the queue.

    Attributes:
        actors: processes that stand for the workers.
        workers: how many the driver sees.
        seconds: that a shard takes.
        writes: whether the actors write shard files, which takes more of the cores than the driver.
    """

    actors: int
    workers: int
    seconds: float = 0.0
    writes: bool = False

    @property
    def share(self) -> int:
        """Workers that an actor stands for."""
        return -(-self.workers // self.actors)


class Stand(Worker):
    """An actor in the place of several workers: it looks at no picture and finds some things."""

    def __init__(self, settings: WorkerSettings, case: Case) -> None:
        super().__init__(Needs())
        load = EngineLoader("", "", "auto", settings.run, make=lambda *_: StoredEngine())
        self.prepare(settings, load)
        self._case = case
        self._free = threading.Semaphore(case.share)
        found = StoredEngine().detect([None], (1, 1))[0]  # type: ignore[list-item]
        self._result = ImageResult(None, 640, 480, found)

    def run(self, block: Any, work: ShardWork) -> Receipt | None:
        """See `Worker.run`."""
        if self._case.writes:
            return super().run(block, work)
        with self._free:
            if not self._begin(work.shard):
                return None
            time.sleep(self._case.seconds)
        name = f"{work.shard:06d}-{work.attempt}.parquet"
        found = DETECTIONS * work.length
        return Receipt(work.shard, name, "0" * 64, work.length, 0, found, "stored")

    def _detect(self, paths: list[str], on_done: Any = None, on_read: Any = None) -> Any:
        on_read()
        on_done(len(paths))
        return [self._result] * len(paths)


def write_input(folder: Path, images: int) -> None:
    """Write an annotation file without annotations, an empty file per image, and a model."""
    folder.mkdir(exist_ok=True)
    with (folder / "annotations.json").open("w", encoding="utf-8") as stream:
        stream.write('{"images": [')
        for image in range(images):
            stream.write(", " if image else "")
            stream.write(json.dumps(image_entry(image)))
            touch(folder / "pictures" / file_name(image))
        categories = [{"id": i + 1, "name": f"class {i}"} for i in range(CLASSES)]
        stream.write(f'], "categories": {json.dumps(categories)}}}')
    write_model(folder / "model.pth", "ResNet18FPN", CLASSES, channels=16)


def start_actors(run: RunFolder, case: Case) -> list[ActorHandle[Any]]:
    """Start the actors; return once all of them are ready."""
    import ray

    told = WorkerSettings(
        run_dir=run.path,
        token_file=run.token_file,
        token=run.token,
        canary=None,
        digest=run.digest,
        run=replace(run.plan.settings, launch_batch=2, threads=1),
    )
    options: dict[str, Any] = {
        "num_cpus": 1,
        "max_concurrency": DEPTH * case.share,
        "concurrency_groups": {WATCH: 1},
    }
    kind: Any = ray.remote(**options)(Stand)
    actors = [kind.remote(told, case) for _ in range(case.actors)]
    ray.get([actor.progress.remote() for actor in actors])
    return actors


def dispatch(run: RunFolder, case: Case, tree: TreeCpu, profile: bool) -> dict[str, Any]:
    """Publish the plan and run the queue.

    Returns:
        seconds of both, CPU seconds of the driver and of all processes in the queue's.
    """
    from odtk_ray.cluster.dispatcher import Dispatcher
    from odtk_ray.cluster.observer import Observer
    from odtk_ray.cluster.shard_blocks import store_shards

    started = time.perf_counter()
    refs = store_shards(run.plan.records, run.plan.shards)
    published = time.perf_counter() - started
    actors = cycle(start_actors(run, case))
    dispatcher = Dispatcher(
        lambda: ((actor := next(actors)), actor.progress.remote()),
        case.workers,
        refs,
        {shard.number: shard.rows for shard in run.plan.shards},
        epoch=run.epoch,
        commit=run.commit,
        progress=lambda images, windows: None,
        warn=lambda text: print(text, file=sys.stderr),
        observer=Observer(None),
    )
    profiler = cProfile.Profile()
    before, started, driver = tree.seconds, time.perf_counter(), cpu_seconds()
    if profile:
        profiler.enable()
    dispatcher.run(refs)
    profiler.disable()
    wall, driver = time.perf_counter() - started, cpu_seconds() - driver
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(15)
    if len(run.committed) != len(refs):
        raise RuntimeError(f"{len(run.committed)} of {len(refs)} shards were committed")
    figures = {"wall": wall, "driver": driver, "all": tree.seconds - before, "load": load()}
    return {"case": asdict(case), "shards": len(refs), "publish": published, **figures}


def dispatch_all(folder: Path, cases: Sequence[Case], profile: bool) -> None:
    """Work through the plan once for each case; prints the figures of each as JSON."""
    from odtk_ray.cluster.session import session

    tree = TreeCpu()
    with session(None, cases[0].actors), tree.watching():
        for case in cases:
            (folder / "detections.json.run" / "commits.jsonl").unlink(missing_ok=True)
            print(json.dumps(dispatch(reopened(folder), case, tree, profile)))


def merge_to_parquet(folder: Path) -> None:
    """Merge shard files into Parquet, which needs no text."""
    config = replace(settings(folder), output=(str(folder / "detections.parquet"),))
    write_outputs(config, reopened(folder))


def rates(lines: Sequence[dict[str, Any]]) -> str:
    """Format the table of the dispatch stage's figures."""
    head = ("workers", "a shard takes", "wall", "shards/s", "ideal", "driver's CPU", "all CPU")
    rows: list[tuple[str, ...]] = [(*head, "load")]
    for figures in lines:
        case, count = Case(**figures["case"]), figures["shards"]
        takes = "a file's time" if case.writes else f"{case.seconds:g} s"
        ideal = f"{case.workers / case.seconds:,.0f}" if case.seconds else ""
        each = [f"{figures[name] / count * 1e3:.2f} ms" for name in ("driver", "all")]
        wall, rate = figures["wall"], f"{count / figures['wall']:,.0f}"
        rows.append((f"{case.workers:,}", takes, f"{wall:.1f} s", rate, ideal, *each))
        rows[-1] += (f"{figures['load']:.1f}",)
    return table(rows)


def per_million(large: Usage, small: Usage, more: int) -> str:
    """Compute what a million more images cost, from runs that differ by that many."""
    wall = (large.wall - small.wall) * 1e6 / more
    cpu = (large.cpu - small.cpu) * 1e6 / more
    memory = (large.peak - small.peak) / 2**20 * 1e6 / more
    return f"{wall:.1f} s, CPU {cpu:.1f} s, {memory:,.0f} MiB"


def report(folder: Path, images: int, cases: Sequence[Case], options: Sequence[str]) -> None:
    """Make the input, measure the stages, print the tables."""
    print(f"{machine()}\n")
    head = ("stage", "images", "wall", "CPU", "peak memory", "load", "a million images more")
    rows: list[tuple[str, ...]] = [head]
    usages: dict[tuple[str, int], Usage] = {}
    small = max(1, images // SMALL)
    said: list[str] = []
    for count in (small, images):
        place = f"--folder={folder / str(count)}"
        stage(__file__, "--stage=input", place, f"--images={count}")
        for name in STAGES[1:]:
            # The last one writes shard files, which is all that the small run needs.
            several = (name, count) == ("dispatch", images)
            for some in (cases[:-1], cases[-1:]) if several else (cases[-1:],):
                told = f"--cases={json.dumps([asdict(case) for case in some])}"
                usage = stage(__file__, f"--stage={name}", place, told, *options)
                said += usage.said
            usages[name, count] = usage
            slope = per_million(usage, usages[name, small], count - small) if count > small else ""
            rows.append((name, f"{count:,}", *usage.cells(), slope))
    print(table(rows))
    # Ray's warnings are there too.
    figures = [json.loads(line) for line in said if line.startswith("{")][1:]
    print(f"\n{cases[0].actors} actors, {figures[-1]['publish']:.1f} s to publish the plan:\n")
    print(f"{rates(figures)}\n")
    for part in ("*.run/plan-*", "*.run/commits.jsonl", "*.run/shards/*", "detections.*"):
        size = sum(f.stat().st_size for f in (folder / str(images)).glob(part) if f.is_file())
        print(f"{part}: {size / 1e6:,.1f} MB")


@click.command()
@click.option("--images", type=click.IntRange(1), default=2_000_000, show_default=True)
@click.option("--shard", "size", type=click.IntRange(1), default=100, show_default=True,
              help="Images a shard at most.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=1000, show_default=True,
              help="Of the large fleet; the small one has a worker an actor.")  # fmt: skip
@click.option("--actors", type=click.IntRange(1), default=16, show_default=True,
              help="Processes that stand for workers.")  # fmt: skip
@click.option("--seconds", type=float, multiple=True, default=[1.0, 2.0], show_default=True,
              help="That a shard takes; may be repeated.")  # fmt: skip
@click.option("--profile", is_flag=True, help="Say where the driver's time goes.")
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
@click.option("--stage", "name", type=click.Choice(STAGES), hidden=True)
@click.option("--cases", "told", hidden=True)
def main(
    images: int,
    size: int,
    workers: int,
    actors: int,
    seconds: Sequence[float],
    profile: bool,
    folder: Path,
    name: str | None,
    told: str,
) -> None:
    """Measure plan, dispatch and merge; needs 20 GB below TMPDIR for 2 million images."""
    cut_shards.LARGEST = size  # as many shards as a run has that is many times larger
    if name == "input":
        write_input(folder, images)
    elif name == "dispatch":
        dispatch_all(folder, [Case(**case) for case in json.loads(told)], profile)
    elif name:
        {"plan": plan, "merge": merge, "merge to Parquet": merge_to_parquet}[name](folder)
    if name:
        end_stage()
        return
    cases = [Case(actors, actors), *(Case(actors, workers, s) for s in (0.0, *seconds))]
    options = [f"--shard={size}", *(["--profile"] if profile else [])]
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as made:
        report(Path(made), images, [*cases, Case(actors, actors, writes=True)], options)


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray gives its workers a niceness of 15: beside other work the driver would wait for them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Workers unpickle the engine by its module.
    paths = str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    main()
