"""The tree whose outputs are hashed: where its parts lie, and processes that run its code.

What imports the tree's own modules looks them up in `PARTS`; all else is its command line.
"""

from __future__ import annotations

import contextlib
import importlib
import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Where the tree has what the command line does not reach; the first one that is there is taken, so
# that trees before and after a move can be compared. Modules of jobs/ and tests/ by their names.
PARTS: dict[str, tuple[str, ...]] = {
    "ExportConfig": ("odtk_ray.config:ExportConfig",),
    "InferConfig": ("odtk_ray.config:InferConfig",),
    "export_set": (
        "odtk_ray.exports.engine_set.export_set:export_set",
        "odtk_ray.export.sets.export_set:export_set",
    ),
    "infer": ("odtk_ray.run.pipeline:infer",),
    "Style": ("training.scenes:Style",),
    "draw_scene": ("training.scenes:draw_scene",),
    "coco_content": ("training.scenefiles:coco_content",),
    # of tests/
    "NamedEngine": ("engines_for_tests:NamedEngine",),
    "Quiet": ("synthetic:Quiet",),
    "tiny_model": ("synthetic:tiny_model",),
    "simulated_machine": ("machines_for_tests:simulated",),
    "node_variables": ("machines_for_tests:having",),
    "H100": ("machines_for_tests:H100",),
    "A10G": ("machines_for_tests:A10G",),
    "cluster_head": ("sessions:cluster_head",),
    "simulated_cluster": ("sessions:simulated_cluster",),
}
# Folders of the tree whose modules are found by their names alone.
_MODULES = (".", "tests", "jobs", "jobs/demo")

# What a run folder holds.
PLAN, RECORDS, SHARDS = "plan.json", "plan-*.parquet", "shards"
JOURNAL, JOURNAL_OBJECTS = "commits.jsonl", "commits/*.jsonl"

# Variables of the caller that would change what is run, or where.
_FOREIGN = ("RAY_", "AWS_", "ODTK_", "OMP_", "MKL_", "OPENBLAS_", "PYTHON", "TEST_")
_LIMIT = 600.0  # seconds that a command may take, on a busy machine too


class TreeError(Exception):
    """The tree under test did not do what it was asked to do."""


def part(name: str) -> Any:
    """A part of the tree, in a process that `Tree.program` started.

    Raises:
        TreeError: it is at none of its places.
    """
    for place in PARTS[name]:
        module, _, attribute = place.partition(":")
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            return getattr(importlib.import_module(module), attribute)
    raise TreeError(f"{name} is not at {' or '.join(PARTS[name])}: give its place in {__file__}")


class Tree:
    """A checkout, and a folder in which its commands run with relative paths.

    Args:
        root: the checkout; nothing is written there, bytecode neither.
        work: the folder.

    Raises:
        TreeError: Python finds another odtk_ray first.
    """

    def __init__(self, root: Path, work: Path) -> None:
        self.root, self.work = root.resolve(), work.resolve()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        self._variables = kept | {
            "PYTHONPATH": os.pathsep.join(str(self.root / name) for name in _MODULES),
            "PYTHONDONTWRITEBYTECODE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # workers are nice by default, and starve on a busy machine
            "OMP_NUM_THREADS": "1",  # of exports; workers have --threads-per-worker
        }
        found = self._run([sys.executable, "-c", "import odtk_ray; print(odtk_ray.__file__)"], 0)
        if self.root not in Path(found.strip()).parents:
            raise TreeError(f"Python finds {found.strip()} and not {self.root}")

    def asset(self, name: str) -> Path:
        """A file of the tree, wherever it lies."""
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            if name in files:
                return Path(folder, name)
            if f"{name}.xz" in files:  # unpacked beside what is made here
                path = self.work / "unpacked" / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(lzma.decompress(Path(folder, f"{name}.xz").read_bytes()))
                return path
        raise TreeError(f"{self.root} has no {name}")

    def odtk_ray(
        self, *arguments: object, code: int = 0, variables: Mapping[str, str] | None = None
    ) -> str:
        """Runs the command line; returns what it writes to stdout.

        Args:
            arguments: behind `odtk-ray`.
            code: the exit code that is expected.
            variables: of the environment, besides.

        Raises:
            TreeError: the exit code is another one.
        """
        return self._run(_command(arguments), code, variables)

    def program(self, name: str, *arguments: object) -> str:
        """Runs a function of `tree_programs.py` in a process that finds the tree's modules."""
        script = Path(__file__).with_name("tree_programs.py")
        return self._run([sys.executable, str(script), name, *map(str, arguments)], 0)

    def kill(self, *arguments: object, when: Callable[[], bool]) -> None:
        """Runs the command line and kills the process as soon as something is the case.

        Raises:
            TreeError: it ended before.
        """
        with subprocess.Popen(
            _command(arguments), cwd=self.work, env=self._variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            deadline = time.monotonic() + _LIMIT
            while not when() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            process.kill()
        if process.returncode != -signal.SIGKILL:
            raise TreeError(f"it ended with {process.returncode} before it could be killed")

    def _run(
        self, command: list[str], code: int, variables: Mapping[str, str] | None = None
    ) -> str:
        done = subprocess.run(
            command, cwd=self.work, env=self._variables | dict(variables or {}),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT, check=False,
        )  # fmt: skip
        if done.returncode != code:
            raise TreeError(
                f"{' '.join(command)}\nended with {done.returncode} instead of {code}:\n"
                f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
            )
        return done.stdout


def _command(arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", "odtk_ray", *map(str, arguments)]
