"""click's errors in the words and the form of ours, with hints at what was meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from odtk_ray.cli.other_tools import option_hint, our_option
from odtk_ray.cli.printable import shell_line
from odtk_ray.cli.value_or_word import ValueOrWord
from odtk_ray.errors import UsageError
from odtk_ray.nearest import did_you_mean

_EXTRA = re.compile(r"unexpected extra arguments? \((.*)\)")
_VALUE = re.compile(r"(?:'(.*)'|(\S+)) is not ")


def from_click(error: click.ClickException, args: Sequence[str]) -> UsageError:
    """Return our error for one that click raised while it parsed a command line.

    Args:
        error: click's.
        args: the command line, without the program's name.
    """
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        hint = unknown_option_hint(error.option_name, context)
        return UsageError(f"there is no option {error.option_name}", hint=hint)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return UsageError(f"{_name(error.param)} is missing", hint=_synopsis(context))
    if isinstance(error, click.BadParameter) and error.param is not None:
        return _bad_value(error, error.param)
    if isinstance(error, click.BadOptionUsage):  # "Option '--batch' requires an argument."
        said = error.message.replace("requires an argument", "needs a value").rstrip(".")
        return UsageError(re.sub(r"^Option '(.*?)'", r"\1", said), hint=_help(context))
    if context is not None and (found := _EXTRA.search(error.message)):
        extra = [found[1]] if found[1] in args else found[1].split(" ")
        return _extra_arguments(extra, args, context)
    return UsageError(error.message.rstrip("."), hint=_help(context))


def unknown_option_hint(option: str, context: click.Context | None) -> str:
    """Return what to do where a command has no such option.

    Args:
        option: with its dashes.
        context: of the command; without one there is no hint.
    """
    if context is None:
        return ""
    known = _options(context)
    hint = option_hint(option, context.command_path, known)
    return hint or did_you_mean(option.replace("_", "-"), known) or _help(context)


def _bad_value(error: click.BadParameter, param: click.Parameter) -> UsageError:
    found, kind = _VALUE.match(error.message), param.type
    words: Sequence[str] = ()
    if isinstance(kind, ValueOrWord):
        kind, words = kind.kind, kind.words
    number = kind in (click.INT, click.FLOAT)
    if found is None or not (number or isinstance(kind, click.Choice)):
        return UsageError(f"{_name(param)}: {error.message.rstrip('.')}")
    value = found[1] or found[2]
    if isinstance(kind, click.Choice):
        choices = list(map(str, kind.choices))
        takes, hint = _either(choices), did_you_mean(value, choices)
    else:
        takes = " or ".join(["a whole number" if kind is click.INT else "a number", *words])
        hint = ""
    return UsageError(f"{_name(param)} cannot be {value}", f"it takes {takes}", hint)


def _either(choices: list[str]) -> str:
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def _extra_arguments(extra: list[str], args: Sequence[str], context: click.Context) -> UsageError:
    """Of arguments that no parameter takes: images without their option, `conf=0.3`."""
    what = f"{context.command_path} does not take {' '.join(extra)}"
    known = _options(context)
    if "--images" not in known:
        return UsageError(what, hint=_synopsis(context))
    given = any(arg.partition("=")[0] == "--images" for arg in args)
    if sum("=" not in token for token in extra) > (0 if given else 1):
        hint = "--images takes one value: a folder, or a pattern in quotes, such as 'photos/*.jpg'"
        return UsageError(what, hint=hint)
    options = {token: _as_option(token, known) for token in extra}
    if not all(options.values()):
        return UsageError(what, hint=_synopsis(context))
    meant = [part for arg in args for part in options.get(arg, [arg])]
    return UsageError(what, hint=f"{context.find_root().info_name} {shell_line(meant)}")


def _as_option(token: str, known: Sequence[str]) -> list[str]:
    """`photos` as `--images photos`, `conf=0.3` as `--threshold 0.3`; empty if not understood."""
    key, equals, value = token.partition("=")
    if not equals:
        return ["--images", token]
    option = f"--{key.replace('_', '-')}"
    ours = option if option in known else our_option(option, known)
    return [ours, value] if ours else []


def _options(context: click.Context) -> list[str]:
    """The options of a command, long names first, without hidden ones."""
    options = [p for p in context.command.get_params(context) if isinstance(p, click.Option)]
    names = [name for option in options if not option.hidden for name in option.opts]
    return sorted(names, key=lambda name: not name.startswith("--"))


def _name(param: click.Parameter) -> str:
    """What users call it: `--batch`, or `MODEL`."""
    return (param.name or "").upper() if isinstance(param, click.Argument) else param.opts[0]


def _synopsis(context: click.Context | None) -> str:
    if context is None:
        return ""
    params = context.command.get_params(context)
    arguments = [_name(param) for param in params if isinstance(param, click.Argument)]
    needed = [f"{_name(p)} ..." for p in params if isinstance(p, click.Option) and p.required]
    return " ".join(["the command is", context.command_path, *arguments, *needed, "[OPTIONS]"])


def _help(context: click.Context | None) -> str:
    return f"{context.command_path} --help lists the options" if context is not None else ""
