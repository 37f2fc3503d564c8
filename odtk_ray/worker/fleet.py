"""The number and kind of a run's workers."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from odtk_ray.settings import Device


@dataclass(frozen=True)
class Fleet:
    """The workers of a run.

    Attributes:
        workers: number of processes that detect.
        gpus: whether each owns a GPU; otherwise CPU cores.
        threads: CPU threads of each worker.
        elastic: whether nodes that join the cluster get workers too.
        names: of the workers that were ready at the end of a run.
    """

    workers: int
    gpus: bool
    threads: int
    elastic: bool = False
    names: tuple[str, ...] = ()

    @property
    def device(self) -> Device:
        """The device that the workers compute on."""
        return "gpu" if self.gpus else "cpu"


def physical_cores() -> int:
    """Count the physical CPU cores that this process may use."""
    allowed = os.sched_getaffinity(0)
    cores: set[tuple[str, str]] = set()
    fields: dict[str, str] = {}
    with (
        contextlib.suppress(OSError),
        open("/proc/cpuinfo", encoding="ascii", errors="replace") as f,
    ):
        for line in f:
            name, _, value = line.partition(":")
            fields[name.strip()] = value.strip()
            if not line.strip():
                if int(fields.get("processor", -1)) in allowed and "core id" in fields:
                    cores.add((fields.get("physical id", "0"), fields["core id"]))
                fields = {}
    return min(len(cores) or len(allowed), len(allowed))
