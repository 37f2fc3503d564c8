"""Processes in which some packages cannot be imported, as where they are not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent

# Python imports this module by itself at its start.
_FINDER = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""

# What `pip install odtk-ray` brings and a device can do without.
HEAVY = ("torch", "torchvision", "triton", "ray", "pycocotools", "fsspec", "pandas")


class Blocking:
    """Runs Python without some packages.

    Args:
        folder: where what blocks them is written.
        names: the packages.
    """

    def __init__(self, folder: Path, names: tuple[str, ...] = HEAVY) -> None:
        (folder / "sitecustomize.py").write_text(_FINDER.format(names=names), encoding="utf-8")
        paths = map(str, (folder, TESTS, TESTS.parent))
        self._env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "RAY_worker_niceness": "0"}

    def python(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run Python with some arguments, in this folder."""
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, check=False)

    def odtk_ray(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run odtk-ray with some arguments."""
        return self.python("-m", "odtk_ray", *arguments)
