"""Times of what is queued on a GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch

ROUNDS = 5


def kernel_time(call: Callable[[], object], repeats: int = 10) -> float:
    """Measure a call's GPU time, ms: the median of rounds of several."""
    times: list[float] = []
    for _ in range(ROUNDS + 1):
        begin, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        torch.cuda._sleep(2_000_000)  # type: ignore[no-untyped-call]  # the queue is full when the first begins
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / repeats)
    return statistics.median(times[1:])


def copy_rate() -> float:
    """Measure bytes a second that a copy on the device reads and writes."""
    source = torch.zeros(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / kernel_time(lambda: target.copy_(source)) * 1e3
