"""`odtk-ray infer` on 1, 2, 4, ... GPUs of one host, from JPEG files to the JSON.

    python jobs/bench/many_gpus.py --gpus 1 --gpus 2

Every number of GPUs gets as many images of the COCO API's sizes as keep each GPU busy for
`--seconds`. The runs of the different numbers alternate, and the table has medians: images a
second, efficiency against the first number, the GPUs' idle share, the cores that all processes and
the driver alone use while detecting, and the time from the call to the first batch of every worker.
At the end one of the workers is killed in the middle of a run, whose output must not differ.
`mixed_fleet.py` shows the driver's share on a machine without GPUs.
"""

from __future__ import annotations

import hashlib
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from endtoend import coco_sizes, write_model, write_pictures
from measure import TreeCpu, cpu_seconds, machine, repeating, table
from traced_run import Setting, TracedRun, trace_folder, traced_run

RATE = 850  # images a second of one H200, from which the number of images follows


class CpuLog:
    """Notes CPU seconds of all processes and of the driver alone, once a second."""

    def __init__(self) -> None:
        self._tree = TreeCpu()
        self._rows: list[tuple[float, float, float]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the times while the block runs."""
        with repeating(1.0, self._note):
            yield

    def _note(self) -> None:
        self._rows.append((time.time(), self._tree.seconds, cpu_seconds()))

    def cores(self, begin: float, end: float) -> tuple[float, float]:
        """Return the mean cores in use between two times (epoch s): of all, of the driver."""
        rows = np.array([row for row in self._rows if begin <= row[0] <= end])
        seconds, everything, driver = rows[-1] - rows[0]
        return everything / seconds, driver / seconds


def measure(folder: Path, name: str, model: str, setting: Setting) -> tuple[TracedRun, list[float]]:
    """Measure one run; return it and its row of the table without the efficiency."""
    log = CpuLog()
    with log.watching():
        run = traced_run(folder, name, model, coco_sizes(), setting)
    everything, driver = log.cores(run.first_read, run.written)
    last = max(worker.first_done for worker in run.workers) - run.started
    shortest = min(worker.seconds for worker in run.workers)
    return run, [run.rate, run.idle, everything, driver, shortest, last]


@contextmanager
def killing_a_worker(trace: Path, launches: int) -> Iterator[list[int]]:
    """Kill the first worker that has done so many launches; gives the process ids killed."""
    killed: list[int] = []

    def look() -> None:
        for file in () if killed else trace.glob("*.jsonl"):
            if file.read_bytes().count(b"\n") >= launches:
                os.kill(int(file.stem), signal.SIGKILL)
                killed.append(int(file.stem))
                file.rename(file.with_suffix(".killed"))
                break

    with repeating(0.05, look):
        yield killed


def link_pictures(source: Path, target: Path, count: int) -> None:
    """Link `count` names to the pictures of a folder in turn, so that a run may be long."""
    target.mkdir()
    paths = sorted(source.iterdir())
    for number in range(count):
        os.link(paths[number % len(paths)], target / f"{number:06d}.jpg")


def digest(path: Path) -> str:
    """Return the first digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@click.command(help=__doc__.splitlines()[0])
@click.option("--gpus", type=click.IntRange(1), multiple=True, default=(1, 2), show_default=True)
@click.option("--seconds", type=click.IntRange(1), default=60, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=8, show_default=True)
@click.option("--pictures", type=click.IntRange(64), default=6000, show_default=True)
@click.option("--kill/--no-kill", default=True, show_default=True)
def main(
    gpus: tuple[int, ...],
    seconds: int,
    runs: int,
    batch: int,
    threads: int,
    pictures: int,
    kill: bool,
) -> None:
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as base:
        folder = Path(base)
        size = write_pictures(folder / "a", coco_sizes(), pictures)
        print(f"{pictures:,} JPEGs of {size / 1e3:.0f} kB", flush=True)
        print(f"{write_model(folder):,.0f} candidates an image", flush=True)
        model = str(folder / "model.pth")
        for count in gpus:
            link_pictures(folder / "a", folder / f"{count}", count * seconds * RATE)
        rows: dict[int, list[list[float]]] = {count: [] for count in gpus}
        for _ in range(runs):
            for count in gpus:
                setting = Setting(batch, threads, count)
                rows[count].append(measure(folder, f"{count}", model, setting)[1])
                print(f"{count} GPUs: {[round(x, 2) for x in rows[count][-1]]}", flush=True)
        print(summary(rows), flush=True)
        if kill:
            compare_killed(folder, model, Setting(batch, threads, max(gpus)))


def summary(rows: dict[int, list[list[float]]]) -> str:
    """Format the table of medians, with the range of the rates behind them."""
    head = ("GPUs", "img/s", "efficiency", "GPU idle %", "cores, all", "cores, driver")
    lines: list[tuple[str, ...]] = [(*head, "s of detection", "s to the last worker's first batch")]
    first = 0.0
    for count, runs in rows.items():
        rates = [run[0] for run in runs]
        rate, *others = (statistics.median(column) for column in zip(*runs, strict=True))
        first = first or rate / count
        lines.append(
            (
                f"{count}",
                f"{rate:.0f} ({min(rates):.0f} to {max(rates):.0f})",
                f"{rate / count / first:.3f}",
                *(f"{value:.1f}" for value in others),
            )
        )
    return table(lines)


def compare_killed(folder: Path, model: str, setting: Setting) -> None:
    """Repeat the largest run and kill a worker in its middle; ends the program if bytes differ."""
    name = f"{setting.gpus}"
    output = folder / f"{name}.json"
    clean = digest(output)
    with killing_a_worker(trace_folder(folder, name), 200) as killed:
        run = traced_run(folder, name, model, coco_sizes(), setting)
    same = digest(output) == clean
    print(
        f"{setting.gpus} GPUs, worker {'killed' if killed else 'NOT killed'} after 200 launches: "
        f"{run.rate:.0f} img/s, output {'the same bytes' if same else 'DIFFERS'} ({clean})",
        flush=True,
    )
    if not killed or not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
