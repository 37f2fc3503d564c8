"""What differs inside a Ray job: its working directory is deleted, and Ray keeps no exit code.

`ray job submit` runs the command in a copy of the working directory that ends with the job, and
its own exit code is 1 whatever the command's was.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError

# Set by Ray for the command of a job, and by nothing else.
_MARK = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_GONE = "a job's working directory is deleted after the job"
_ABSOLUTE = "give an absolute path on shared storage, or a URI"


def in_job() -> bool:
    """Whether this process is the command of a Ray job."""
    return _MARK in os.environ


def settle_places(config: InferConfig) -> InferConfig:
    """See that what a job writes outlives it; without `--output` it goes into the run folder.

    Raises:
        UsageError: a path is relative.
    """
    outputs = config.outputs
    if "outputs" not in config.given:
        if config.run_dir is None:
            raise UsageError("a job needs --output or --run-dir", _GONE, _ABSOLUTE)
        refuse_relative("--run-dir", config.run_dir)
        if not storage.is_uri(config.run_dir):
            os.makedirs(config.run_dir, exist_ok=True)
        outputs = tuple(storage.join(config.run_dir, os.path.basename(p)) for p in outputs)
        config = replace(config, outputs=outputs, run_dir=None)
    for flag, path in [
        ("--run-dir", config.run_dir),
        ("--draw", config.draw),
        ("--trace", config.trace),
    ]:
        if path is not None:
            refuse_relative(flag, path)
    for path in outputs:
        refuse_relative("--output", path)
    return config


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
