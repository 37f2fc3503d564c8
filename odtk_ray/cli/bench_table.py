"""Prints what `odtk-ray bench` measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from odtk_ray.bench.matrix_rate import CPU_SIDE, GPU_SIDE
from odtk_ray.cli.colours import echo
from odtk_ray.cli.screen import print_table
from odtk_ray.plural import counted

if TYPE_CHECKING:
    from odtk_ray.bench.bench_models import Bench, BenchRow

_HEAD = ("model", "size", "batch", "read", "decode", "network", "post", "p50", "p99", "img/s",
         "GiB", "share")  # fmt: skip


def print_bench(bench: Bench) -> None:
    """Print a row for each model and batch, what the columns are, and what could not run."""
    rows = [row for row in bench.rows if row.figures is not None]
    if rows:
        print_table([_HEAD, *(_cells(row) for row in rows)])
        for line in _legend(bench):
            echo(line)
    for row in bench.rows:
        if row.error:
            echo(f"{row.model.path}, batch {row.batch}: {row.error}")


def _cells(row: BenchRow) -> tuple[str, ...]:
    """Format a row: times in milliseconds."""
    figures, model = row.figures, row.model
    if figures is None:
        raise ValueError("nothing was measured")
    return (
        f"{os.path.basename(model.path)} {model.precision}",
        f"{model.size[0]}x{model.size[1]}",
        f"{figures.batch}",
        f"{figures.read_ms:.2f}",
        f"{figures.decode_ms:.2f}",
        _figure(figures.network_ms),
        _figure(figures.postprocessing_ms),
        f"{figures.launch_ms:.2f}",
        f"{figures.launch_p99_ms:.2f}",
        f"{figures.images_per_second:.1f}",
        f"{figures.memory / 2**30:.2f}",
        "-" if row.share is None else f"{row.share:.0%}",
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _legend(bench: Bench) -> list[str]:
    gpu = bench.device == "gpu"
    where = "the GPU" if gpu else f"the CPU, {counted(bench.threads, 'thread')}"
    memory = "in use on the GPU" if gpu else "the most that this process had"
    lines = [
        f"milliseconds on {where}: read and decode of a picture, network and post-processing of a "
        f"launch; p50 and p99 of {counted(bench.launches, 'launch', 'launches')}",
        f"img/s: all stages beside each other; GiB: {memory}",
    ]
    if bench.matrix_rate is not None:
        product = f"{GPU_SIDE}x{GPU_SIDE} in FP16" if gpu else f"{CPU_SIDE}x{CPU_SIDE} in FP32"
        lines.append(
            f"share of {bench.matrix_rate / 1e12:.2f} TFLOP/s, which products of matrices of "
            f"{product} reach here"
        )
    return lines
