"""Reads ODTK's `.pth` files without trusting them: bytes to plain values, settings checked."""

from __future__ import annotations

import functools
import re
import reprlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeGuard

import torch
from torch import Tensor

from odtk_ray.errors import UsageError
from odtk_ray.model.backbones import check_backbone
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

DEFAULT_CHANNELS = 256

_ZIP_START, _LEGACY_START = b"PK\x03\x04", b"\x80\x02"
_AGAIN = "copy or download the file again"
_TRAINED = "give a file that odtk train wrote"


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """The network settings that a checkpoint states.

    Attributes:
        backbones: ODTK's factory names, in order, each once.
        classes: number of classes.
        ratios: anchor height / width.
        scales: anchor sizes in strides.
        angles: anchor angles in radians; None for axis-aligned boxes.
        channels: width of the pyramids and of the heads.
        class_names: one name for each class, or None.
        category_ids: the data set's id of each class, or None.
        iteration: training steps done, or None.
    """

    backbones: tuple[str, ...]
    classes: int
    ratios: tuple[float, ...] = DEFAULT_RATIOS
    scales: tuple[float, ...] = DEFAULT_SCALES
    angles: tuple[float, ...] | None = None
    channels: int = DEFAULT_CHANNELS
    class_names: tuple[str, ...] | None = None
    category_ids: tuple[int | str, ...] | None = None
    iteration: int | None = None

    @property
    def rotated(self) -> bool:
        """Whether the boxes are rotated."""
        return self.angles is not None

    @property
    def anchors_per_cell(self) -> int:
        """Number of anchors of a cell: ratios x scales x angles."""
        return len(self.ratios) * len(self.scales) * len(self.angles or (0.0,))

    @property
    def box_values(self) -> int:
        """Numbers of a box delta: 4, or 6 for rotated boxes."""
        return 6 if self.rotated else 4


def unusable_checkpoint(path: str | Path, why: str, hint: str = "") -> UsageError:
    """Create the error for a checkpoint that cannot be used."""
    return UsageError(f"cannot use checkpoint {path}", why, hint)


def read_pth(path: Path) -> dict[Any, Any]:
    """Read a file of `torch.save`, zip or legacy format, on the CPU.

    Only tensors and plain values are accepted (`weights_only`): nothing in the file is executed.
    The tensors of a zip file are mapped, not read: what nobody looks at, such as an optimizer's
    state, is never in memory, and what is kept should be copied, since the file may change.

    Raises:
        UsageError: the file is missing, damaged, holds code or is not a checkpoint.
    """
    try:
        if path.is_dir():
            raise unusable_checkpoint(path, "it is a folder", "give the .pth file itself")
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise unusable_checkpoint(path, error.strerror or str(error)) from error
    _check_start(path, start)
    try:
        content = _load(path, mapped=start == _ZIP_START)  # torch can map no other
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        wants = f"it wants to run {named[1]}" if named else "it holds more than tensors and values"
        raise unusable_checkpoint(path, f"{wants}, which is refused as unsafe", _TRAINED) from error
    except Exception as error:  # torch raises nearly every type for a damaged file
        raise unusable_checkpoint(path, "it is incomplete or damaged", _AGAIN) from error
    if not isinstance(content, dict):
        raise unusable_checkpoint(
            path, f"it holds a {type(content).__name__}, not a checkpoint", _TRAINED
        )
    return content


def _load(path: Path, *, mapped: bool) -> Any:
    load = functools.partial(torch.load, path, map_location="cpu", weights_only=True)
    if mapped:
        try:
            return load(mmap=True)
        except RuntimeError as error:
            if "unable to mmap" not in str(error):
                raise
    return load()  # a legacy file, or a file system that maps none


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(path) as archive:
        return archive.infolist()


def _check_start(path: Path, start: bytes) -> None:
    if not start:
        raise unusable_checkpoint(path, "it is empty", _AGAIN)
    if not start.startswith((_ZIP_START, _LEGACY_START)):
        raise unusable_checkpoint(path, "it is not a PyTorch file", _TRAINED)
    if start != _ZIP_START:
        return
    try:
        whole = zipfile.is_zipfile(path)
        entries = _entries(path) if whole else []
    except Exception as error:  # zipfile raises many types for a damaged directory
        raise unusable_checkpoint(path, "it is damaged", _AGAIN) from error
    if not whole:
        raise unusable_checkpoint(path, "it is incomplete: the end of the file is missing", _AGAIN)
    names = [entry.filename for entry in entries]
    inside = [name for name in names if name.endswith((".pth", ".pt", ".torch"))]
    if inside:
        raise unusable_checkpoint(path, f"it is a zip archive around {inside[0]}", "unzip it first")
    if any(name.endswith("/constants.pkl") for name in names):
        raise unusable_checkpoint(path, "it is a TorchScript program, not a checkpoint", _TRAINED)
    if not any(name.endswith("/data.pkl") for name in names):
        raise unusable_checkpoint(path, "it is a zip archive, not a PyTorch file", _TRAINED)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        why = "its entries are compressed, which those of torch.save never are"
        raise unusable_checkpoint(path, why, "load it with torch and save it again")


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: object) -> bool:
    return _whole(value) and 1 <= value <= 1_000_000


def _list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, (list, tuple)) and len(value) > 0 and all(test(item) for item in value)
    )


def _finite(value: object) -> TypeGuard[float]:
    return (_whole(value) or isinstance(value, float)) and abs(value) <= 1e6  # also refuses NaN


def _positive(value: object) -> bool:
    return _finite(value) and value > 0


def _text(value: object) -> bool:
    return isinstance(value, str)


# What each entry has to be; the first three have to be there.
_REQUIRED = ("backbone", "classes", "state_dict")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "backbone": (_list_of(_text), "a list of backbone names"),
    "classes": (_count, "a whole number from 1 to 1000000"),
    "state_dict": (lambda value: isinstance(value, Mapping), "a table of tensors"),
    "ratios": (_list_of(_positive), "a list of positive numbers"),
    "scales": (_list_of(_positive), "a list of positive numbers"),
    "angles": (_list_of(_finite), "a list of angles in radians"),
    "channels": (_count, "a whole number from 1 to 1000000"),
    "class_names": (_list_of(_text), "a list of names"),
    "category_ids": (_list_of(lambda v: _whole(v) or _text(v)), "a list of numbers or texts"),
    "iteration": (_whole, "a whole number"),
}


def parse_settings(path: str | Path, content: Mapping[Any, Any]) -> CheckpointSettings:
    """Check every entry that inference reads, except the tensors.

    Args:
        path: named in the errors.
        content: the file's table, with ODTK's keys; an optional entry that is None counts as
            absent, and absent ones get ODTK's defaults.

    Raises:
        UsageError: an entry is missing, of the wrong type or length, or names no known backbone.
    """
    _check_keys(path, content)
    given = {key: content[key] for key in _RULES if content.get(key) is not None}
    for key, value in given.items():
        is_right, meaning = _RULES[key]
        if not is_right(value):
            raise unusable_checkpoint(path, f"its '{key}' is {reprlib.repr(value)}, not {meaning}")
    names = given["backbone"]
    try:
        for name in names:
            check_backbone(name)
    except UsageError as error:
        raise unusable_checkpoint(path, error.what, error.hint) from None
    if len(set(names)) < len(names):
        raise unusable_checkpoint(path, f"its 'backbone' names one twice: {', '.join(names)}")
    for key in ("class_names", "category_ids"):
        if key in given and len(given[key]) != given["classes"]:
            raise unusable_checkpoint(
                path, f"its '{key}' has {len(given[key])} entries for {given['classes']} classes"
            )
    for key in ("ratios", "scales", "angles"):
        if key in given:
            given[key] = tuple(float(value) for value in given[key])
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    del values["state_dict"]
    return CheckpointSettings(
        backbones=values.pop("backbone"), classes=values.pop("classes"), **values
    )


def _check_keys(path: str | Path, content: Mapping[Any, Any]) -> None:
    if content and all(isinstance(value, Tensor) for value in content.values()):
        why = "it holds tensors alone, without the 'backbone' and 'classes' that ODTK stores"
        raise unusable_checkpoint(path, why, _TRAINED)
    missing = [f"'{key}'" for key in _REQUIRED if content.get(key) is None]
    if missing:
        raise unusable_checkpoint(path, f"it has no {', '.join(missing)}", _TRAINED)
