"""Copies the demonstration's files out of the package."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.storage.writable import check_writable

_ASSETS = Path(__file__).parent

# Files of this folder, and where they go below the user's. The last one has the licences, which
# must travel with what they are about.
_TARGETS = {
    "trees.pth": "trees.pth",
    "OSBS_029.jpg": "photographs/OSBS_029.jpg",
    "SOAP_061.jpg": "photographs/SOAP_061.jpg",
    "trees.json": "trees.json",
    "README.md": "SOURCES.md",
}

# What validation chose for photographs of 400x400 pixels, see docs/demo_model.md.
_RESIZE = 1000


@dataclass(frozen=True)
class DemoFile:
    """A file of the demonstration in the user's folder.

    Attributes:
        path: the folder as `write_demo` was given it, and the file's name below it.
        size: bytes.
        written: whether it was written now; otherwise it was there already, with these bytes.
    """

    path: str
    size: int
    written: bool


@dataclass(frozen=True)
class Demo:
    """A demonstration folder that is ready to run.

    Attributes:
        files: what it consists of.
        arguments: those of the `odtk-ray` that finds, scores and draws the trees.
        drawn: the folder where that leaves the photographs with boxes drawn.
        detections: the COCO file that it writes.
        sources: the file that says where the files come from, and under which licences.
    """

    files: list[DemoFile]
    arguments: list[str]
    drawn: str
    detections: str
    sources: str


def write_demo(folder: str) -> Demo:
    """Write the model, two photographs and their annotations into a folder.

    Files that are there with the same bytes are left as they are; nothing is ever overwritten.

    Args:
        folder: a local folder, absolute or relative.

    Raises:
        UsageError: it is no folder that can be written to, or something else lies where a file
            should go; then no file was written.
        OSError: a file could not be written whole, for example because the disk is full.
    """
    folder = _checked(folder)
    contents = {
        os.path.join(folder, target): (_ASSETS / name).read_bytes()
        for name, target in _TARGETS.items()
    }
    missing = [path for path, content in contents.items() if not _is_there(path, content)]
    for path in missing:
        _make_place(path)
    for path in missing:
        storage.write_atomic(path, contents[path])
    files = [DemoFile(path, len(content), path in missing) for path, content in contents.items()]
    return _ready(folder, files)


def photographs() -> list[Path]:
    """Return the demonstration's photographs, JPEGs of 400x400 pixels, inside the package."""
    return [_ASSETS / name for name in _TARGETS if name.endswith(".jpg")]


def _checked(folder: str) -> str:
    """Return the folder, with a name that no program takes for a flag or a home folder."""
    if not folder or storage.is_uri(folder):
        raise UsageError(f"cannot write to {folder!r}", "DIR must be a local folder")
    if not storage.is_text(folder):
        raise UsageError(f"cannot write to {folder!a}", "its name is not UTF-8")
    return f"./{folder}" if folder[0] in "-~" else folder


def _is_there(path: str, content: bytes) -> bool:
    """Return whether the file exists with this content.

    Raises:
        UsageError: something else is there, or it cannot be read.
    """
    if not os.path.lexists(path):
        return False
    try:
        # Neither a pipe nor a large file is read.
        file = Path(path)
        same = file.is_file() and file.stat().st_size == len(content)
        same = same and file.read_bytes() == content
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    if not same:
        hint = "choose another folder, or move it away"
        raise UsageError(f"cannot write {path}", "something else is there already", hint)
    return True


def _make_place(path: str) -> None:
    """Make the folder of a file, and check that it can be written to."""
    parent = os.path.dirname(path)
    try:
        os.makedirs(parent, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"cannot write to {parent}", "it is not a folder") from error
    except OSError as error:
        raise UsageError(f"cannot make {parent}", error.strerror or str(error)) from error
    check_writable(path)


def _ready(folder: str, files: list[DemoFile]) -> Demo:
    names = ("trees.pth", "photographs", "trees.json", "detections.json", "drawn", "SOURCES.md")
    model, photographs, truth, detections, drawn, sources = (
        os.path.join(folder, name) for name in names
    )
    arguments = ["infer", model, "--images", photographs, "--annotations", truth]
    arguments += ["--resize", str(_RESIZE), "--output", detections, "--draw", drawn]
    return Demo(files, arguments, drawn=drawn, detections=detections, sources=sources)
