"""Measures `odtk-ray --help` as a shell sees it: the goal is less than 0.3 s."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import click
from measure import load, machine, table

COMMAND = [sys.executable, "-c", "from odtk_ray.cli.process import main; main()", "--help"]


def measure(command: list[str]) -> tuple[float, float]:
    """Measure wall seconds and CPU seconds of one call."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system
    return seconds, cpu - before.children_user - before.children_system


@click.command()
@click.option("--runs", type=click.IntRange(1), default=10, show_default=True)
def main(runs: int) -> None:
    """Time `odtk-ray --help`, and an empty Python beside it."""
    print(f"{machine()}; load {load():.1f}; median of {runs}")
    rows: list[tuple[str, ...]] = [("command", "wall", "CPU", "slowest")]
    for name, command in {
        "odtk-ray --help": COMMAND,
        "python -c pass": [sys.executable, "-c", "pass"],
    }.items():
        wall, cpu = zip(*(measure(command) for _ in range(runs)), strict=True)
        figures = (statistics.median(wall), statistics.median(cpu), max(wall))
        rows.append((name, *(f"{seconds:.3f} s" for seconds in figures)))
    print(table(rows))


if __name__ == "__main__":
    main()
