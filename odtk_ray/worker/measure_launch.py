"""Measures how fast one launch batch is on a worker's engine, for `--batch auto`."""

from __future__ import annotations

import statistics
from typing import Any

from odtk_ray.engines.launch_timing import time_launches
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.protocol import Engine
from odtk_ray.shards.launch_rates import LaunchRate


def measure_launch(engine: Engine[Any], load: EngineLoader) -> LaunchRate:
    """Measure an engine with the largest planned shape; call this in the engine's thread.

    Args:
        engine: that `load` creates.
        load: its settings have the launch batch, its shapes are not empty.
    """
    batch, memory = load.settings.launch_batch, 0.0
    seconds = time_launches(engine, load.shapes[0])
    of_gpu: Any = getattr(engine, "memory", None)  # ONNX Runtime's engine does not know it
    if load.settings.device == "gpu" and of_gpu is not None:
        free, total = of_gpu()
        memory = 1 - free / total
    return LaunchRate(
        batch,
        round(batch / statistics.median(seconds), 3),
        round(sum(seconds), 3),
        round(memory, 3),
    )
