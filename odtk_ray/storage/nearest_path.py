"""The file that a mistyped path is likely to stand for."""

from __future__ import annotations

import itertools
import os

from odtk_ray.nearest import nearest
from odtk_ray.storage.files import is_uri

# Comparing a name with so many others takes a tenth of a second.
_MOST_NAMES = 10_000


def nearest_path(path: str) -> str | None:
    """Return an existing local path that differs from a missing one in one name, else None.

    Args:
        path: local, missing; folders in front of it may be missing too. URIs have no answer, since
            listing them may be slow or forbidden.
    """
    if is_uri(path):
        return None
    folder, missing, rest = os.path.normpath(path), "", ""
    while not os.path.isdir(folder or "."):
        rest = os.path.join(missing, rest) if rest else missing
        folder, missing = os.path.split(folder)
        if not missing:
            return None
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
    except OSError:
        return None
    found = nearest(missing, sorted(names))
    candidate = os.path.join(folder, found or "", rest).rstrip(os.sep)
    return candidate if found and os.path.exists(candidate) else None
