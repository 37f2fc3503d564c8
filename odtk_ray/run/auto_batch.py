"""`--batch auto`: has workers measure launches before the plan is made, and takes the best."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from odtk_ray.config.common import MAX_LAUNCH
from odtk_ray.dispatch.launch_survey import LaunchSurvey, full_share, launch_sizes
from odtk_ray.images.resize import largest_input
from odtk_ray.plural import counted
from odtk_ray.shards.launch_rates import MeasuredLaunches

if TYPE_CHECKING:
    from odtk_ray.cluster.workers import Workers
    from odtk_ray.engines.loader import EngineLoader
    from odtk_ray.reporter import Reporter


def measure_batch(
    load: EngineLoader,
    shapes: dict[tuple[int, int], int],
    batches: tuple[int, int] | None,
    workers: Workers,
    reporter: Reporter,
) -> tuple[int, MeasuredLaunches | None]:
    """Choose a launch batch by measuring on workers.

    Args:
        load: creates a worker's engine; its settings are as planned but for the launch.
        shapes: number of images of each planned network input, largest first; where none is known
            the largest is measured that is allowed.
        batches: least and greatest launch that the model accepts; None accepts any.
        workers: which have been started.
        reporter: receives what was measured.

    Returns:
        the launch batch, and the rates; None where there is only one launch.

    Raises:
        OdtkError: no worker could measure any.
    """
    prep = load.settings.preprocessing
    shape = next(iter(shapes), largest_input(prep)[::-1])
    sizes, full = _sizes(load, shapes, batches, workers.fleet.workers)
    if len(sizes) == 1:
        reporter.note(f"--batch auto: only launches of {counted(sizes[0], 'image')} are possible")
        return sizes[0], None
    survey = LaunchSurvey(sizes, full)
    started = time.monotonic()
    workers.measure_launches(replace(load, shapes=[shape]), survey)
    seconds = round(time.monotonic() - started, 3)
    for remark in survey.remarks:
        reporter.warn(f"--batch auto: {remark}")
    chosen, measured = survey.chosen(), MeasuredLaunches(survey.rates(), shape, seconds)
    total = chosen * workers.fleet.workers
    reporter.note(
        f"--batch auto: launches of {counted(chosen, 'image')}, as --batch {total} on "
        f"{counted(workers.fleet.workers, 'worker')}; {_described(measured, full)}"
    )
    return chosen, measured


def _sizes(
    load: EngineLoader,
    shapes: dict[tuple[int, int], int],
    batches: tuple[int, int] | None,
    workers: int,
) -> tuple[list[int], dict[int, float]]:
    """Return the launches to try, and the share of their places that would have a picture.

    No worker should get less than one launch. Windows of tiled pictures always suffice.
    """
    counts, sizes = shapes.values(), launch_sizes(*batches or (1, MAX_LAUNCH))
    if load.settings.preprocessing.tile is not None or not counts:
        return sizes, dict.fromkeys(sizes, 1.0)
    sizes = sizes[:1] + [size for size in sizes[1:] if size * workers <= sum(counts)]
    return sizes, {size: full_share(counts, size) for size in sizes}


def _described(measured: MeasuredLaunches, full: dict[int, float]) -> str:
    """Say what was measured, in one line."""
    parts = []
    for kind, rates in measured.rates.items():
        texts = []
        for rate in rates:
            share = full[rate.launch]
            filled = f" ({share:.0%} full)" if share < 0.995 else ""
            texts.append(f"{rate.launch} at {rate.images_per_second:,.1f} img/s{filled}")
        parts.append(f"{kind}: {', '.join(texts)}" if kind else ", ".join(texts))
    height, width = measured.shape
    return f"measured {'; '.join(parts)} for {width}x{height}, in {measured.seconds:.1f} s"
