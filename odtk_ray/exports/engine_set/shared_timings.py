"""The timings of a set: a cache for each GPU and version of TensorRT, which all its builds share.

There are no locks, which object stores do not have. A build merges all caches of its GPU and
version, writes what it ends with under a name made of its content, and then removes those that
it had merged. Builds that end at the same time leave several caches, which the next one merges:
a cache is removed only after another one that holds it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence

from odtk_ray import storage
from odtk_ray.artifacts.plan_key import machine_key
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.exports.tensorrt.timing_cache import merge_timings

_ENDING = ".timing"

# Merges caches; returns the result, and of each whether it is in it.
Merge = Callable[[Sequence[bytes]], tuple[bytes, Sequence[bool]]]


def read_timings(
    folder: str, about: Sidecar, merge: Merge = merge_timings
) -> tuple[bytes, list[str]]:
    """Read all that earlier builds of a plan's GPU and TensorRT have measured.

    Args:
        folder: of the set, path or URI.
        about: the plan's sidecar, as far as it is known before the build.
        merge: merges caches.

    Returns:
        the cache, and the paths or URIs of the caches that it is made of.
    """
    beginning = f"{machine_key(about)}_"
    found: dict[str, bytes] = {}
    for name in storage.list_files(folder, recursive=False).names:
        if name.startswith(beginning) and name.endswith(_ENDING):
            with contextlib.suppress(OSError):  # another build has merged it meanwhile
                path = storage.join(folder, name)
                found[path] = storage.read_bytes(path)
    if not found:
        return b"", []
    content, taken = merge([*found.values()])
    return content, [path for path, merged in zip(found, taken, strict=True) if merged]


def keep_timings(
    folder: str, about: Sidecar, content: bytes, merged: Sequence[str], tag: str
) -> None:
    """Write the cache that a build ended with, and remove those that are in it.

    Args:
        folder: see `read_timings`.
        about: likewise.
        content: the cache.
        merged: what `read_timings` returned.
        tag: of the temporary file.

    Raises:
        OSError: it cannot be written; nothing was removed.
    """
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = storage.join(folder, f"{machine_key(about)}_{digest}{_ENDING}")
    storage.write_atomic(path, content, tag)
    for old in merged:
        if old != path:
            with contextlib.suppress(OSError):
                storage.remove(old)
