"""From Enter to the first detections: the time line of a run, beside the least that Ray needs.

    python jobs/bench/startup.py
    python jobs/bench/startup.py -- --address auto

The figure that matters is the time from the start of the process to the first launch's detections
on the host. On a machine with a GPU it is a ResNet50FPN of 80 classes and 56 pictures, elsewhere
the demonstration model and 8. Also `odtk-ray --help` as a shell sees it: the goal is 0.15 s.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from inputs import HEIGHT, WIDTH, write_pictures
from measure import load, machine, table
from PIL import Image

from odtk_ray.engines.local_gpus import list_gpus
from odtk_ray.moments import Moment
from odtk_ray.settings import Preprocessing

COMMAND = [sys.executable, "-c", "from odtk_ray.cli.process import main; main()"]
END = "the process has ended"
FIRST = Moment.DETECTED.value
FLOOR_FIRST = "the results of one forward are on the host"

# Seconds from the start of the process by what was reached.
Times = dict[str, float]


@dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
        folder: holds `model.pth`, and `pictures`; gets the outputs.
        gpu: whether there is one.
        size: height and width of the network input of the first pictures.
        flags: more flags of `odtk-ray infer`.
    """

    folder: Path
    gpu: bool
    size: tuple[int, int]
    flags: Sequence[str]


def measure_command(command: list[str]) -> tuple[float, float]:
    """Measure wall seconds and CPU seconds of one call."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system
    return seconds, cpu - before.children_user - before.children_system


def help_table(runs: int) -> str:
    """Measure `odtk-ray --help`, and an empty Python beside it."""
    rows: list[tuple[str, ...]] = [("command", "wall", "CPU", "slowest")]
    for name, command in {
        "odtk-ray --help": [*COMMAND, "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }.items():
        wall, cpu = zip(*(measure_command(command) for _ in range(runs)), strict=True)
        figures = (statistics.median(wall), statistics.median(cpu), max(wall))
        rows.append((name, *(f"{seconds:.3f} s" for seconds in figures)))
    return table(rows)


def write_inputs(folder: Path, count: int | None, flags: Sequence[str]) -> Case:
    """Write model and pictures, those of the machine's case."""
    if list_gpus():
        write_pictures(folder / "pictures", count or 56)
        script = Path(__file__).with_name("biased.py")
        size = _input_size(WIDTH, HEIGHT)
        _run([sys.executable, str(script), str(folder / "model.pth"), "--size", *map(str, size)])
        return Case(folder, True, size, flags)
    _run([*COMMAND, "demo", str(folder / "demo")])
    shutil.move(folder / "demo" / "trees.pth", folder / "model.pth")
    photographs = sorted((folder / "demo" / "photographs").iterdir())
    (folder / "pictures").mkdir()
    for number in range(count or 8):
        source = photographs[number % len(photographs)]
        shutil.copy(source, folder / "pictures" / f"{number}.jpg")
    return Case(folder, False, _input_size(*Image.open(photographs[0]).size), flags)


def _input_size(width: int, height: int) -> tuple[int, int]:
    from odtk_ray.images.resize import input_size

    return input_size(width, height, Preprocessing())[::-1]


def _run(command: list[str], environment: Mapping[str, str] = os.environ) -> str:
    """Run a command; return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ChildProcessError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def time_run(case: Case) -> Times:
    """Run `odtk-ray infer`; return when it got how far, by its own trace."""
    trace = case.folder / "trace.json"
    command = [*COMMAND, "infer", str(case.folder / "model.pth"), "--quiet"]
    command += ["--images", str(case.folder / "pictures"), "--trace", str(trace)]
    command += ["--output", str(case.folder / "detections.json"), *case.flags]
    # The kernels' caches are those of this benchmark, so that its first run finds them empty.
    caches = {"XDG_CACHE_HOME": str(case.folder), "CUDA_CACHE_PATH": str(case.folder / "cuda")}
    started = time.time()
    _run(command, os.environ | caches)
    end = time.time()
    found = json.loads(trace.read_text(encoding="utf-8"))
    before = found["otherData"]["begun"] - started
    times: Times = {}
    for event in found["traceEvents"]:
        if event["ph"] == "i":  # of several workers the first
            reached = before + event["ts"] / 1e6
            times[event["name"]] = min(reached, times.get(event["name"], reached))
    return times | {END: end - started}


def time_floor(case: Case) -> Times:
    """Run the bare script; return when it got how far."""
    command = [sys.executable, str(Path(__file__).with_name("bare_start.py"))]
    command += [str(case.folder / "model.pth"), *(["--gpu"] if case.gpu else [])]
    command += ["--batch", "8" if case.gpu else "2", "--size", *map(str, case.size)]
    started = time.time()
    times = json.loads(_run(command))
    end = time.time()
    return {name: reached - started for name, reached in times.items()} | {END: end - started}


def time_line(name: str, runs: Sequence[Times]) -> str:
    """Format the medians of runs, in their order, with what each step took and the range."""
    medians = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
    rows: list[tuple[str, ...]] = [(name, "s", "step", "all runs")]
    before = 0.0
    for what, reached in sorted(medians.items(), key=lambda item: item[1]):
        every = [run[what] for run in runs]
        step = f"{reached - before:.2f}"
        rows.append((what, f"{reached:.2f}", step, f"{min(every):.2f} to {max(every):.2f}"))
        before = reached
    return table(rows)


def compare_starts(case: Case, starts: int) -> None:
    """Run both in turn and print their time lines; a GPU's first run finds no kernels."""
    cold = time_run(case)
    print(f"The first run, no caches: first detections after {cold[FIRST]:.2f} s\n", flush=True)
    runs: list[Times] = []
    floors: list[Times] = []
    for _ in range(starts):
        runs.append(time_run(case))
        floors.append(time_floor(case))
    shown = " ".join(("odtk-ray infer", *case.flags))
    print(time_line(shown, runs), time_line("the least", floors), sep="\n\n")
    first = statistics.median(run[FIRST] for run in runs)
    floor = statistics.median(run[FLOOR_FIRST] for run in floors)
    print(
        f"\nProcess start to the first launch's detections on the host: {first:.2f} s; "
        f"the least {floor:.2f} s, {first / floor:.2f} times; load {load():.1f}"
    )


@click.command(help=__doc__.splitlines()[0])
@click.option("--runs", type=click.IntRange(1), default=10, show_default=True, help="Of --help.")
@click.option("--starts", type=click.IntRange(0), default=5, show_default=True, help="Of a run.")
@click.option("--images", type=click.IntRange(1), help="[default: 56 on a GPU, 8 elsewhere]")
@click.argument("flags", nargs=-1)
def main(runs: int, starts: int, images: int | None, flags: tuple[str, ...]) -> None:
    print(f"{machine()}; load {load():.1f}; medians\n\n{help_table(runs)}\n", flush=True)
    if starts:
        with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as base:
            compare_starts(write_inputs(Path(base), images, flags), starts)


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
