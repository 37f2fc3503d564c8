"""Reads and writes calibration tables: JSON that states its checkpoint, images and method."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Annotated

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.exports.int8.histograms import Method
from odtk_ray.typed_json import (
    Count,
    OtherFormatError,
    Range,
    WrongJsonError,
    parse_json,
    typed,
    typed_versioned,
)

_FORMAT = 1
_HEAD = b'{\n "format": '  # which the tables of `to_json` begin with
_LARGEST = 3.4e38  # float32's greatest number
_AGAIN = "--recalibrate makes a new one from --calibration-images"


@dataclass(frozen=True)
class CalibrationTable:
    """The result of a calibration.

    Attributes:
        method: how the ranges were chosen.
        model: SHA-256 of the checkpoint.
        size: height and width of the network input in pixels.
        images: SHA-256 of each image's file, in the order in which they were drawn.
        names: their names, for people.
        amax: the magnitude of the largest code of each quantised tensor, by key.
        version: of odtk-ray, that made it.
    """

    method: Method
    model: str
    size: tuple[Count, Count]
    images: tuple[str, ...]
    names: tuple[str, ...]
    amax: dict[str, Annotated[float, Range(0, _LARGEST)]]
    version: str

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n"


def read_table(path: str) -> CalibrationTable:
    """Read a calibration table.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        content = storage.read_bytes(path)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    try:
        return typed(typed_versioned(parse_json(content), _FORMAT), CalibrationTable)
    except OtherFormatError as error:
        raise _refused(path, str(error)) from error
    except WrongJsonError as error:
        why = f"it is damaged, or not a calibration table of odtk-ray: {error}"
        hint = _AGAIN if content.startswith(_HEAD) else "name another file"
        raise UsageError(f"cannot use {path}", why, hint) from error


def check_replaceable(path: str) -> None:
    """Check that a table does not replace a file that is something else.

    Raises:
        UsageError: there is such a file; a damaged table may be replaced.
    """
    try:
        content = storage.read_bytes(path)
    except OSError:
        return
    if content and not content.startswith(_HEAD):
        try:
            read_table(path)
        except UsageError as error:
            why = "the existing file is not a calibration table"
            raise UsageError(f"cannot write {path}", why, "name another file") from error


def check_table(
    path: str,
    table: CalibrationTable,
    *,
    model: str,
    size: tuple[int, int],
    keys: Collection[str],
    method: Method | None = None,
    images: Collection[str] | None = None,
) -> None:
    """Check that a table was made for this export.

    Args:
        path: named in the errors.
        table: what was read.
        model: SHA-256 of the checkpoint.
        size: height and width of the network input.
        keys: of the tensors that the network quantises.
        method: that was asked for; None takes the table's.
        images: SHA-256 of the images that would be used; None takes the table's.

    Raises:
        UsageError: something differs; it is named.
    """
    if table.model != model:
        raise _refused(path, f"it is for model {table.model[:12]}, and this is {model[:12]}")
    if table.size != size:
        made, wanted = ("x".join(map(str, sides)) for sides in (table.size, size))
        raise _refused(path, f"it was made at {made}, and --size is {wanted}")
    if method is not None and table.method != method:
        raise _refused(path, f"its method is {table.method}, and --calibration-method is {method}")
    if images is not None and sorted(table.images) != sorted(images):
        raise _refused(path, "it was made from other images than those drawn now")
    if table.amax.keys() != set(keys):
        odd = sorted(table.amax.keys() ^ set(keys))
        raise _refused(
            path, f"{len(odd)} of its entries do not belong to this network, such as {odd[0]}"
        )


def _refused(path: str, why: str) -> UsageError:
    return UsageError(f"cannot use calibration table {path}", why, _AGAIN)
