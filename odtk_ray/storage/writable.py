"""Checks that results can be written, before any work is done."""

from __future__ import annotations

import os

from odtk_ray.errors import UsageError
from odtk_ray.storage import files, object_stores
from odtk_ray.storage.nearest_path import nearest_path


def check_file(path: str) -> None:
    """Check that a file can be written, local or behind a URI.

    Raises:
        UsageError: it is a folder, or as `check_writable`.
    """
    if not files.is_uri(path) and os.path.isdir(path):
        raise UsageError(f"cannot write {path}", "it is a folder")
    check_writable(path)


def check_writable(path: str) -> None:
    """Check that a file or folder can be created at `path`.

    Raises:
        UsageError: otherwise.
    """
    folder = os.path.dirname(files.absolute(path))
    probe = files.join(folder, f".odtk-ray.{os.getpid()}.tmp")
    if not files.is_uri(path) and not os.path.isdir(folder):
        missing = os.path.dirname(path)
        found = nearest_path(missing)
        hint = f"did you mean {found}?" if found else ""
        raise UsageError(f"cannot write {path}", f"there is no folder {missing}", hint)
    try:
        if files.is_uri(probe):
            object_stores.put(probe, b"")
            object_stores.remove(probe)
        else:
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY))
            os.unlink(probe)
    except OSError as error:
        why = f"{folder}: {error.strerror or error}"
        raise UsageError(
            f"cannot write {path}", why, "choose a folder that you can write to"
        ) from error
    except (ImportError, ValueError, NotImplementedError) as error:
        hint = "s3:// needs `pip install odtk-ray[s3]`, gs:// `odtk-ray[gcs]`, on every node"
        raise UsageError(f"cannot write {path}", str(error), hint) from error
