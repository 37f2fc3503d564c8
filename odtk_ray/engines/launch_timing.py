"""Times launches of an engine: for `odtk-ray bench`, and for `--batch auto`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cuda_ops
from odtk_ray.engines.protocol import Engine

# A launch takes a GPU milliseconds, and a CPU up to seconds.
_SECONDS, _LAUNCHES = 0.5, 20


def timed(call: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of each of several calls."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def time_stages(
    device: cuda_ops.Device, run: Callable[[], None], postprocess: Callable[[], None]
) -> tuple[float, float]:
    """Return the seconds that a GPU needs for a network, and for what is behind it.

    Args:
        device: on whose stream both are queued.
        run: queues both.
        postprocess: queues what is behind the network again.
    """
    begin, middle, end = device.event(), device.event(), device.event()
    begin.record()
    run()
    middle.record()
    postprocess()
    end.record()
    end.synchronize()
    both, behind = middle.elapsed(begin) / 1e3, end.elapsed(middle) / 1e3
    return both - behind, behind


def time_launches(engine: Engine[Any], shape: tuple[int, int]) -> list[float]:
    """Return the seconds of launches without pictures, which compute as much as full ones.

    The first one does not count: it makes the shape ready, and whatever else the first one has to.

    Args:
        engine: measured in its own thread.
        shape: (height, width) of the network input in pixels.
    """

    def launch_and_wait() -> None:
        engine.launch([], shape)()

    launch_and_wait()
    seconds: list[float] = []
    while len(seconds) < _LAUNCHES and sum(seconds) < _SECONDS:
        seconds += timed(launch_and_wait, 1)
    return seconds
