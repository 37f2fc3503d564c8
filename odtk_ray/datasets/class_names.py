"""Reads a file with the names of a model's classes."""

from __future__ import annotations

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted


def read_class_names(path: str, classes: int) -> tuple[str, ...]:
    """Read the names of a model's classes, one a line, in the order of its class indices.

    Args:
        path: local path or URI of a file in UTF-8, with or without a mark.
        classes: number of classes of the model.

    Raises:
        UsageError: the file cannot be read, has an empty line or a name twice, or not as many names
            as the model has classes.
    """
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read --classes {path}", _reason(error)) from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if len(names) != classes:
        raise UsageError(
            f"--classes {path} has {counted(len(names), 'name')}, the model "
            f"{counted(classes, 'class', 'classes')}",
            hint="give one name a line, in the order of the model's classes",
        )
    lines: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise UsageError(f"--classes {path}: line {number} is empty", "each line is a name")
        if (first := lines.setdefault(name, number)) != number:
            raise UsageError(f"--classes {path}: lines {first} and {number} are both {name}")
    return tuple(names)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start:,})"
    return error.strerror or str(error)
