"""`--config FILE`: options of a command from a TOML file, with a table for each command.

    [infer]
    model = "model.pth"
    images = "photos"
    batch = 16

The keys are the names of the options without the dashes in front, and of the arguments. Paths are
relative to the current folder, as on the command line, which wins.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any

import click

from odtk_ray.cli.usage_errors import unknown_option_hint
from odtk_ray.errors import UsageError
from odtk_ray.nearest import did_you_mean
from odtk_ray.options import Declared, flag_of
from odtk_ray.plural import counted
from odtk_ray.typed_json import WrongJsonError, typed

_LARGEST = 1 << 20  # bytes; what is larger is another file, given by mistake


def config_option() -> click.Option:
    """Make the option `--config`, which is read before all others and fills in their defaults."""
    return click.Option(
        ["--config"],
        is_eager=True,
        expose_value=False,
        callback=_fill_in,
        metavar="FILE",
        help="TOML file with these options in a table named after the command; paths in it are "
        "relative to the current folder, and the command line wins.",
    )


def _fill_in(context: click.Context, _: click.Parameter, path: str | None) -> None:
    if path is None or context.resilient_parsing:
        return
    verb = context.info_name or ""
    verbs = getattr(context.find_root().command, "commands", {})
    params = {_key(p): p for p in context.command.params if not getattr(p, "hidden", False)}
    del params["config"]
    table = _read_table(path, verb, verbs)
    where = f"{path}: [{verb}]"
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in params:
            hint = unknown_option_hint(f"--{key}", context)
            raise UsageError(f"{where} has {key}, and there is no option --{key}", hint=hint)
        declared = getattr(params[key], "declared", None)
        values[params[key].name or key] = _checked(key, value, declared, where)
    context.default_map = values


def _key(param: click.Parameter) -> str:
    """Return what a file calls a parameter: `top-n` of `--top-n`, `model` of MODEL."""
    return flag_of(param.name or "").removeprefix("--")


def _checked(key: str, value: Any, declared: Declared | None, where: str) -> Any:
    """Return a value as click takes it: the command line would give it the same type and range."""
    several = declared is not None and declared.count is not None
    items = value if several and isinstance(value, list) else [value]
    kind = bool if declared is None else declared.kind
    words = () if declared is None else declared.words
    try:
        items = [item if item in words else typed(item, kind, key) for item in items]
        if declared is not None:
            for item in items:
                declared.check(item)
        if any(isinstance(item, str) and "\0" in item for item in items):
            raise WrongJsonError(f"{key} has a NUL character, which no argument can have")
    except WrongJsonError as error:
        raise UsageError(f"{where} {error}") from error
    except UsageError as error:
        raise UsageError(f"{where} {error.what}", error.why, error.hint) from error
    return items if several else items[0]


def _read_table(path: str, verb: str, known: Collection[str]) -> Mapping[str, Any]:
    """Return the table of a command; whatever else the file holds must be tables of commands."""
    document = _parse(path)
    for name, table in document.items():
        if not isinstance(table, dict):
            why = f"{name} stands in no table, and options stand in that of their command"
            raise UsageError(f"cannot use {path}", why, f"write [{verb}] above it")
        if name not in known:
            hint = did_you_mean(f"[{name}]", [f"[{other}]" for other in known])
            raise UsageError(f"cannot use {path}", f"no command is called {name}", hint)
    if verb not in document:
        there = ", ".join(f"[{name}]" for name in document) or "no table at all"
        raise UsageError(f"{path} has no table [{verb}]", f"it has {there}")
    found: Mapping[str, Any] = document[verb]
    return found


def _parse(path: str) -> dict[str, Any]:
    # No other command needs them, and --help answers sooner without.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    from odtk_ray import storage

    try:
        with storage.open_input(path) as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    if len(data) > _LARGEST:
        raise UsageError(f"cannot use {path}", f"it has more than {counted(_LARGEST, 'byte')}")
    try:
        document: dict[str, Any] = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML", str(error)) from error
    return document
