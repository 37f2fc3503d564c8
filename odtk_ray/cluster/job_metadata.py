"""Puts the counts of a run into its Ray job's metadata, for the dashboard and `ray job list`.

Ray has no public way to change a job's metadata: what is changed is the job's entry in the store of
the cluster's head, which Ray itself writes before the command starts and after it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import Any

# Set by Ray for the command of a job, and by nothing else.
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"

# Seconds between two changes, and those that the last one may take.
_INTERVAL = 5.0
_PATIENCE = 5.0


class JobMetadata:
    """Keeps `odtk_run` and counts in the metadata of the job that this process is the command of.

    A thread does it, since the cluster's head may not answer for a while. Nothing happens in a
    process that is no job's.
    """

    def __init__(self) -> None:
        self._job = _job_id()
        self._values: dict[str, str] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="job metadata", daemon=True)
        if self._job:
            self._thread.start()

    def set(self, run: str, images: int, done: int, failed: int) -> None:
        """Have the metadata say this soon.

        Args:
            run: its name.
            images: planned.
            done: of them, in committed shards.
            failed: of those done.
        """
        counts = {"images": images, "done": done, "failed": failed}
        numbers = {f"odtk_{name}": str(count) for name, count in counts.items()}
        self._values = {"odtk_run": run, **numbers}

    def close(self) -> None:
        """Write the last values."""
        self._closed.set()
        if self._job:
            self._thread.join(_PATIENCE)

    def _follow(self) -> None:
        written: dict[str, str] = {}
        ended = False
        while not ended:
            ended = self._closed.wait(_INTERVAL if written else 0.1)
            if (values := self._values) != written and _put(self._job, values):
                written = values


def _job_id() -> str:
    """Return the id of the job that this process is the command of; empty if it is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(os.environ[JOB_CONFIG])["metadata"]["job_submission_id"])
    return ""


def _put(job: str, values: dict[str, str]) -> bool:
    """Add values to a running job's metadata; return whether that went well."""
    try:
        from ray._private import ray_constants
        from ray.dashboard.modules.job.common import JobInfoStorageClient
        from ray.experimental import internal_kv

        where = {"namespace": ray_constants.KV_NAMESPACE_JOB}
        key = JobInfoStorageClient.JOB_DATA_KEY.format(job_id=job).encode()
        info: dict[str, Any] = json.loads(internal_kv._internal_kv_get(key, **where))
        if info["status"] != "RUNNING":
            return False
        info["metadata"] = {**(info["metadata"] or {}), **values}
        internal_kv._internal_kv_put(key, json.dumps(info).encode(), overwrite=True, **where)
    except Exception:  # not public: of whatever kind, the run does without
        return False
    return True
