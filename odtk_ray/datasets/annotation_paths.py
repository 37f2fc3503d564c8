"""Maps file names in annotation files to files below the image folder."""

from __future__ import annotations

import os
import posixpath
from typing import TypeGuard

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.storage.nearest_path import nearest_path


def image_folder(images: str) -> str:
    """Return the image folder, local ones as absolute paths.

    Raises:
        UsageError: it is a `file://` URI that is ambiguous.
    """
    return storage.absolute(os.path.expanduser(images))


def existing_image_folder(images: str) -> str:
    """Return the image folder, as `image_folder`, if it is one.

    Raises:
        UsageError: there is no such folder.
    """
    folder = image_folder(images)
    if not storage.is_folder(folder):
        found = nearest_path(images)
        hint = f"did you mean {found}?" if found else ""
        raise UsageError(f"there is no folder {images}", hint=hint)
    return folder


def is_file_name(value: object) -> TypeGuard[str]:
    """Return whether a `file_name` can be the name of a file."""
    return isinstance(value, str) and value != "" and "\0" not in value and storage.is_text(value)


def image_path(root: str, name: str) -> str:
    """Return the path of a file below the image folder.

    Raises:
        UsageError: the name leads out of it.
    """
    scheme, mark, bare = root.rpartition("://")
    folder = bare.rstrip("/") + "/"
    path = posixpath.join(folder, name)
    if not posixpath.normpath(path).startswith(folder):
        raise outside(name, root)
    return f"{scheme}{mark}{path}"


def below(images: str, path: str) -> str:
    """Normalise what `image_path` returned, relative to the image folder."""
    scheme, mark, bare = images.rpartition("://")
    return posixpath.normpath(path[len(scheme + mark) :])[len(bare.rstrip("/")) + 1 :]


def leads_out(images: str, path: str) -> bool:
    """Return whether a local file exists but its links lead out of the image folder."""
    there = not storage.is_uri(images) and os.path.lexists(path)
    return there and not storage.inside(path, os.path.realpath(images))


def outside(name: str, root: str) -> UsageError:
    """Create the error for a name that leads out of the image folder."""
    return UsageError(
        f"{name} leads out of the image folder",
        f"only files in {root} are read",
        "give the folder that holds all images as --images",
    )
