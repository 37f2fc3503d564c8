"""Checks that results can be written, before any work is done."""

from __future__ import annotations

import os
import stat

from odtk_ray.errors import UsageError
from odtk_ray.storage import files, object_stores
from odtk_ray.storage.atomic import own_tag
from odtk_ray.storage.nearest_path import nearest_path

# What image files begin with: JPEG, PNG, GIF, TIFF, BMP, JPEG 2000, and RIFF for WebP.
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"BM",
                 b"\0\0\0\x0cjP  ", b"RIFF")  # fmt: skip


def check_file(path: str, *, picture: bool = False) -> None:
    """Check that a file can be written, local or behind a URI.

    Args:
        path: of the file.
        picture: whether it is to be a picture, which may replace an earlier one.

    Raises:
        UsageError: it is a folder, a link, an image or no regular file, or as `check_writable`.
    """
    if path.endswith("/"):
        raise UsageError(f"cannot write {path}", "its name ends in /, as a folder's does")
    local = files.absolute(path)
    if not files.is_uri(local) and (kind := _not_replaceable(local, picture)):
        raise UsageError(f"cannot write {path}", f"it is {kind}", "give the name of a new file")
    check_writable(path)


def check_folder(path: str) -> None:
    """Check that files can be written below a folder that exists or can be created.

    Raises:
        UsageError: it is a file, or as `check_writable`.
    """
    local = files.absolute(path)
    if not files.is_uri(local) and os.path.lexists(local) and not os.path.isdir(local):
        raise UsageError(f"cannot write into {path}", "it is no folder", "give another folder")
    check_writable(local.rstrip("/"))


def _not_replaceable(path: str, picture: bool) -> str:
    """Say what stands at a local path that no result may replace; empty if nothing does."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return ""
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISLNK(mode):
        return f"a link to {os.readlink(path)}"
    if not stat.S_ISREG(mode):
        return "a pipe, device or socket"
    return "an image" if not picture and _is_image(path) else ""


def _is_image(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(16).startswith(_IMAGE_STARTS)
    except OSError:  # a file that may be replaced but not read
        return False


def check_writable(path: str) -> None:
    """Check that a file or folder can be created at `path`.

    Raises:
        UsageError: otherwise.
    """
    folder = os.path.dirname(files.absolute(path))
    probe = files.join(folder, f".odtk-ray.{own_tag()}.tmp")
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
