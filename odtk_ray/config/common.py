"""Options that several commands have, and what holds for the settings of all of them."""

import os
from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from typing import Annotated, Any, Literal, TypeAlias

from odtk_ray.errors import UsageError
from odtk_ray.options import Option, options_of
from odtk_ray.settings import AnchorGeneration, Postprocessing, Preprocessing

# What is greater was mistyped.
MAX_LAUNCH = 4_096  # pictures
MAX_WORKERS = 100_000
MAX_SECONDS = 10**7  # four months

# How GPUs are named.
GPU_TYPES = "by Ray's type (H100), by name ('NVIDIA H100 80GB HBM3'), or all."

PlanPrecision = Literal["fp16", "fp32", "int8"]
StrPath: TypeAlias = str | os.PathLike[str]  # a file in a call of the API

ModelPath: TypeAlias = Annotated[
    str,
    Option("Arguments", "Path or URI of a checkpoint (.pth), of an exported model (.onnx, .plan), "
           "or of the folder of an engine set.", "MODEL"),
]  # fmt: skip
Anchors: TypeAlias = Annotated[
    AnchorGeneration,
    Option("Model", "Anchors that a checkpoint was trained with: legacy are those of ODTK before "
           "March 2020; auto recognises them."),
]  # fmt: skip
ClassNames: TypeAlias = Annotated[
    str | None,
    Option("Model", "File with the names of the model's classes, one a line.", "FILE",
           "the model's"),
]  # fmt: skip
RotatedBbox: TypeAlias = Annotated[
    bool,
    Option("Model", "Require a model of rotated boxes; not needed, since its file says which boxes "
           "it has.", in_odtk=True),
]  # fmt: skip
RunPrecision: TypeAlias = Annotated[
    PlanPrecision | None,
    Option("Model", "Run the plans of this precision of an engine set; --fit, --resize and "
           "--max-size choose among its sizes.", unset="fp16 where the set has it, else fp32"),
]  # fmt: skip
WaitForNodes: TypeAlias = Annotated[
    float | None,
    Option("Cluster", "Wait up to this many seconds for an autoscaler to start a node with the "
           "GPUs of --gpu-type, or any.", "SECONDS", "do not wait", minimum=0, maximum=MAX_SECONDS),
]  # fmt: skip

Report: TypeAlias = Annotated[
    str | None,
    Option("Output", "HTML file to write a report to, with plots, tables and pictures.", "FILE"),
]


def setting(kind: type[Preprocessing | Postprocessing], name: str, unset: str = "") -> Option:
    """Return the option of a field of settings, for a field of what users ask for.

    Args:
        kind: the settings.
        name: of the field.
        unset: what None stands for, if None is allowed; `{}` is the default of the settings.
    """
    declared = options_of(kind)[name]
    return replace(declared.option, unset=unset.format(declared.default))


def stated(config: object, names: Collection[str]) -> list[str]:
    """Return those of the fields that a user gave, sorted; in order of names."""
    return sorted(n for n in names if getattr(config, n) not in (None, False, (), "auto"))


def chosen(config: object, kind: type[Any]) -> dict[str, Any]:
    """Return the fields of `Preprocessing` or `Postprocessing` that a user gave, by name."""
    values = {field.name: getattr(config, field.name, None) for field in fields(kind)}
    return {name: value for name, value in values.items() if value is not None}


def options_in_force(config: Any) -> dict[str, Any]:
    """Return the options of a command and their values, as a file for `--config` has them.

    Keys are the names of flags without dashes in front; what has no value is left out.

    Args:
        config: a dataclass whose fields declare options.
    """
    values = {
        option.flag.removeprefix("--"): getattr(config, name)
        for name, option in options_of(type(config)).items()
    }
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if value is not None
    }


def check_wait(known: bool, wait_for_nodes: float | None) -> None:
    """Refuse to wait where it is not known for what.

    Raises:
        UsageError: it is not.
    """
    if wait_for_nodes is not None and not known:
        raise UsageError("--wait-for-nodes needs --gpu-type, which says what to wait for")


def settings_of(kind: type[Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of the API that are settings, as the command line has them.

    Paths become text, and NumPy's numbers Python's. An option of several values takes a list of
    them, or anything else that yields them, or a single one.

    Args:
        kind: the dataclass whose fields declare the options.
        arguments: of the call, by name; those that are no options stay as they are.
    """
    options = options_of(kind)
    settings = {name: value for name, value in arguments.items() if name != "reporter"}
    for name in settings.keys() & options.keys():
        value = _plain(settings[name])
        if options[name].count is not None and value is not None:
            alone = isinstance(value, str) or not isinstance(value, Iterable)
            value = (value,) if alone else tuple(map(_plain, value))
        settings[name] = value
    return settings


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if getattr(value, "ndim", None) == 0 else value
