"""All that `odtk-ray doctor` examines of machine and cluster: a table of independent checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from odtk_ray.stack.cluster_nodes import check_nodes
from odtk_ray.stack.finding import Finding, problem
from odtk_ray.stack.gpus import check_compilers, check_gpus
from odtk_ray.stack.inputs import check_inputs
from odtk_ray.stack.libraries import check_libraries
from odtk_ray.stack.loaded_files import check_loaded_files
from odtk_ray.stack.machine import check_disks, check_memory, check_package, check_python
from odtk_ray.stack.prober import ProbeError, Prober


@dataclass(frozen=True)
class Asked:
    """What to examine besides this machine.

    Attributes:
        address: of a Ray cluster.
        run_dir: folder that its nodes should share.
        model: of a run.
        images: of a run.
        annotations: of a run.
    """

    address: str | None = None
    run_dir: str | None = None
    model: str | None = None
    images: str | None = None
    annotations: str | None = None

    @property
    def paths(self) -> list[str]:
        """What nodes have to read."""
        return [path for path in (self.model, self.images, self.annotations) if path]


def _nodes(prober: Prober, asked: Asked) -> Iterator[Finding]:
    if asked.address:
        yield from check_nodes(prober, asked.address, asked.paths, asked.run_dir)


_CHECKS: dict[str, Callable[[Prober, Asked], Iterator[Finding]]] = {
    "Python": lambda prober, asked: check_python(),
    "odtk-ray": lambda prober, asked: check_package(),
    "memory": lambda prober, asked: check_memory(),
    "disks": lambda prober, asked: check_disks(),
    "libraries": lambda prober, asked: check_libraries(prober),
    # Behind the libraries: it looks at what they have loaded.
    "loaded CUDA": lambda prober, asked: check_loaded_files(prober),
    "compiler": lambda prober, asked: check_compilers(prober),
    "GPUs": lambda prober, asked: check_gpus(prober),
    "Ray cluster": _nodes,
    "inputs": lambda prober, asked: check_inputs(
        prober, asked.model, asked.images, asked.annotations
    ),
}


def examine_stack(asked: Asked) -> Iterator[Finding]:
    """Examine the machine, the libraries, the GPUs, and what else was asked for.

    Yields:
        findings as they come; a check that fails itself is one too.
    """
    with Prober() as prober:
        for name, check in _CHECKS.items():
            try:
                yield from check(prober, asked)
            except ProbeError as error:
                yield problem(name, f"cannot be examined: {error}")
            except Exception as error:  # the stack is broken in ways that nobody foresaw
                first = (str(error).strip() or "no message").splitlines()[0]
                yield problem(name, f"cannot be examined: {type(error).__name__}: {first}")
