"""Measures how fast this machine multiplies matrices: what a network's speed is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable

from odtk_ray.settings import Device

# Sides of the square matrices: a GPU needs large ones to be busy; these take a CPU 0.1 s.
GPU_SIDE, CPU_SIDE = 8192, 1024
_WARM_UP, _RUNS = 3, 10


def matrix_rate(device: Device, threads: int) -> float | None:
    """Measure a product of two matrices with PyTorch: in FP16 on a GPU, in FP32 on a CPU.

    Args:
        device: that multiplies.
        threads: of a CPU.

    Returns:
        additions and multiplications in a second of the fastest of ten products: what is reached
        when nothing else runs. None without PyTorch.
    """
    try:
        import torch
    except ImportError:
        return None
    gpu = device == "gpu"
    side = GPU_SIDE if gpu else CPU_SIDE
    torch.set_num_threads(threads)
    dtype = torch.float16 if gpu else torch.float32
    a, b = (torch.rand(side, side, device="cuda" if gpu else "cpu").to(dtype) for _ in range(2))

    def multiply() -> None:
        torch.mm(a, b)
        if gpu:
            torch.cuda.synchronize()

    return 2 * side**3 / _least_seconds(multiply)


def _least_seconds(call: Callable[[], object]) -> float:
    """Return the time of the fastest of ten calls, after three that are not counted."""
    for _ in range(_WARM_UP):
        call()
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)
