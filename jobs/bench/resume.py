"""Measures `odtk-ray infer --resume` until the merge of a finished run starts: 20 s at most.

The run is that of memory.py: every shard file is there and committed, and its driver was killed
before the merge. What is measured is the command line: its imports, reading the plan, hashing the
annotation file, checking the model, starting Ray, and reading and hashing every shard file.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import memory
from measure import TreeCpu, load, machine, stage, table

from odtk_ray.shards import cut_shards

COMMAND = "from odtk_ray.cli.process import main; main()"


def until_merge(folder: Path) -> tuple[float, float]:
    """Resume, and stop when the first output file is begun; return wall and CPU seconds.

    Raises:
        ChildProcessError: the command ended before.
    """
    config = memory.settings(folder)
    options = ["--images", config.images, "--annotations", str(config.annotations)]
    options += ["--output", *config.output, "--resume", "--keep-run"]
    output = Path(config.output[0])
    output.unlink(missing_ok=True)
    tree, started = TreeCpu(), time.perf_counter()
    before = tree.seconds
    process = subprocess.Popen([sys.executable, "-c", COMMAND, "infer", config.model, *options])
    try:
        with tree.watching():
            # A short merge may be over before it is seen.
            while not output.exists() and not any(folder.glob(f"{output.name}.*.tmp")):
                if process.poll() is not None:
                    raise ChildProcessError("the run ended without a merge")
                time.sleep(0.02)
        return time.perf_counter() - started, tree.seconds - before
    finally:
        process.terminate()
        process.wait()


@click.command()
@click.option("--images", type=click.IntRange(1), default=200_000, show_default=True)
@click.option("--megabytes", type=click.IntRange(0), default=1000, show_default=True,
              help="Size of the annotation file.")  # fmt: skip
@click.option("--detections", type=click.IntRange(1), default=20, show_default=True,
              help="Detections an image.")  # fmt: skip
@click.option("--shard", "size", type=click.IntRange(1), default=cut_shards.LARGEST,
              show_default=True, help="Images a shard at most.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
def main(images: int, megabytes: int, detections: int, size: int, runs: int) -> None:
    """Time the resume of a finished run; needs 2 GB below TMPDIR, which it gives back."""
    numbers = [f"--images={images}", f"--megabytes={megabytes}", f"--detections={detections}"]
    numbers.append(f"--shard={size}")
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as name:
        for part in ("input", "plan", "make up shards"):
            stage(memory.__file__, f"--stage={part}", f"--folder={name}", *numbers)
        files = list(Path(name).glob("detections.json.run/shards/*"))
        written = sum(file.stat().st_size for file in files) / 1e6
        print(f"{machine()}\n{images:,} images, {len(files):,} shard files, {written:,.0f} MB\n")
        loads = load()
        walls, cpus = zip(*(until_merge(Path(name)) for _ in range(runs)), strict=True)
    figures = (f"{f(values):.1f} s" for f, values in
               ((statistics.median, walls), (max, walls), (statistics.median, cpus)))  # fmt: skip
    head = ("", "median", "slowest", "CPU", "load", "goal")
    print(table([head, ("start to merge", *figures, f"{loads:.1f}", "20 s")]))


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
