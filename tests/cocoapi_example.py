"""The COCO API's example of an evaluation: tests/datasets/cocoapi."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "datasets" / "cocoapi"
_TRUTH = "instances_val2014_100.json"
_RESULTS = "instances_val2014_fakebbox100_results.json"


def read() -> tuple[Any, Any]:
    """Return the content of the annotation file, and of the list of results."""
    truth, results = (json.loads(_bytes(name)) for name in (_TRUTH, _RESULTS))
    return truth, results


def unpack(folder: Path) -> tuple[Path, Path]:
    """Write both files; return their paths."""
    for name in (_TRUTH, _RESULTS):
        (folder / name).write_bytes(_bytes(name))
    return folder / _TRUTH, folder / _RESULTS


def _bytes(name: str) -> bytes:
    return gzip.decompress((_FOLDER / f"{name}.gz").read_bytes())
