"""What differs inside a Ray job: its working directory is deleted, and Ray keeps no exit code.

`ray job submit` runs the command in a copy of the working directory that ends with the job, and
its own exit code is 1 whatever the command's was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from odtk_ray import storage
from odtk_ray.cluster.job_metadata import JOB_CONFIG
from odtk_ray.config import DEFAULT_OUTPUT
from odtk_ray.errors import UsageError
from odtk_ray.options import flag_of

_GONE = "a job's working directory is deleted after the job"
_ABSOLUTE = "give an absolute path on shared storage, or a URI"


def in_job() -> bool:
    """Whether this process is the command of a Ray job."""
    return JOB_CONFIG in os.environ


def output_in_run_dir(run_dir: str | None) -> tuple[str, ...]:
    """Return where a job without `--output` writes: into the folder that it was given.

    Raises:
        UsageError: it was given none, or its path is relative.
    """
    if run_dir is None:
        raise UsageError("a job needs --output or --run-dir", _GONE, _ABSOLUTE)
    refuse_relative("--run-dir", run_dir)
    if not storage.is_uri(run_dir):
        os.makedirs(run_dir, exist_ok=True)
    return (storage.join(run_dir, DEFAULT_OUTPUT),)


def check_places(flags: Mapping[str, Any]) -> None:
    """See that what a job writes outlives it.

    Args:
        flags: of `infer`, by the names of the options.

    Raises:
        UsageError: a path is relative.
    """
    for name in ("run_dir", "draw", "crops", "report", "trace"):
        if flags[name] is not None:
            refuse_relative(flag_of(name), flags[name])
    for path in flags["output"]:
        refuse_relative("--output", path)


def refuse_relative(flag: str, path: str) -> None:
    """See that a path that a job writes to outlives it.

    Raises:
        UsageError: it is relative.
    """
    if not storage.is_uri(path) and not os.path.isabs(path):
        raise UsageError(f"{flag} {path} is relative", _GONE, _ABSOLUTE)


def last_line(code: int, counts: dict[str, int]) -> str:
    """The last line of a job's log, for programs: the exit code and what was done."""
    return json.dumps({"exit_code": code, **counts})
