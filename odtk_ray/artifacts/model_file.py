"""Provides the local file of a model that is named by path or URI."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from odtk_ray import storage
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, sidecar_path
from odtk_ray.errors import UsageError


@contextlib.contextmanager
def model_file(model: str) -> Iterator[str]:
    """Yield the local path of a model; a model behind a URI is copied while the context lasts.

    A plan's sidecar comes with it.

    Raises:
        UsageError: it cannot be read; those that the context raises name the URI, not the copy.
    """
    with contextlib.ExitStack() as stack:
        try:
            path = storage.absolute(model)
            local = stack.enter_context(storage.local_copy(path))
            if is_tensorrt_plan(path) and storage.is_uri(path):
                beside = storage.read_bytes(sidecar_path(path))
                Path(sidecar_path(local)).write_bytes(beside)
        except (OSError, ValueError, ImportError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"cannot read {model}", why) from error
        try:
            yield local
        except UsageError as error:
            raise UsageError(error.what.replace(local, model), error.why, error.hint) from error
