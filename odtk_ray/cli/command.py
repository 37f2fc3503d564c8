"""How a command is made from what declares its options, and what its help looks like."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import click

from odtk_ray.cli.config_file import config_option
from odtk_ray.cli.value_or_word import ValueOrWord
from odtk_ray.errors import UsageError
from odtk_ray.options import Declared, Option, options_of
from odtk_ray.plural import counted

Debug: TypeAlias = Annotated[bool, Option("Other", "Show the traceback of a failure.")]

# Width of the first column of a help page; what is longer has a line of its own.
_COLUMN = 26


def command(
    *examples: str, settings: Callable[..., Any] | None = None
) -> Callable[[Callable[..., None]], Command]:
    """Make a command of a function; where it has options, a file may give them (`--config`).

    Args:
        examples: lines that its help ends with.
        settings: a dataclass whose fields are options, besides the function's parameters.
    """

    def made(function: Callable[..., None]) -> Command:
        declared = (options_of(settings) if settings else {}) | options_of(function)
        params: list[click.Parameter] = [_parameter(option) for option in declared.values()]
        if not all(option.positional for option in declared.values()):
            params.append(config_option())
        return click.command(cls=Command, params=params, examples=examples)(function)

    return made


def values_of(settings: Callable[..., Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for the API from the values that click parsed.

    Several values that are not given are left out. Of height and width one number is enough.

    Raises:
        UsageError: an option has too few values, or too many.
    """
    values = dict(flags)
    for name, option in options_of(settings).items():
        if option.count is None:
            continue
        given = values.pop(name)
        if option.count == 2 and len(given) == 1:
            given *= 2
        if given and option.count not in (0, len(given)):
            shown = " ".join(map(str, given))
            raise UsageError(
                f"{option.flag} {shown} has {counted(len(given), 'number')}",
                f"it is {option.flag} {option.option.metavar}",
            )
        if given:
            values[name] = given
    return values


class GroupedOption(click.Option):
    """An option under a heading of the help.

    Attributes:
        declared: its declaration.
        group: the heading.
        several: regular expression of arguments behind the flag that are values of it too; empty
            where there is one only.
    """

    def __init__(self, declared: Declared, several: str, **attributes: Any) -> None:
        super().__init__([declared.flag, declared.name], **attributes)
        self.declared, self.several = declared, several
        self.group = declared.option.group


class DescribedArgument(click.Argument):
    """An argument that the help explains.

    Attributes:
        declared: its declaration.
    """

    group = "Arguments"

    def __init__(self, declared: Declared, **attributes: Any) -> None:
        super().__init__([declared.name], **attributes)
        self.declared = declared

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return what stands for it, and its help."""
        return self.human_readable_name, self.declared.option.help


class Command(click.Command):
    """A command whose help has its options in groups, and examples."""

    def __init__(self, *args: Any, examples: Sequence[str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept several values behind one flag, as ODTK does: the flag is repeated before each."""
        several = {
            param.opts[0]: re.compile(param.several)
            for param in self.params
            if isinstance(param, GroupedOption) and param.several
        }
        expanded: list[str] = []
        previous = ""
        for token in args:
            if previous in several and expanded[-1] != previous:
                if several[previous].fullmatch(token):
                    expanded.append(previous)
                else:
                    previous = token
            elif token.startswith("-"):
                previous = token
            expanded.append(token)
        return super().parse_args(ctx, expanded)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the whole first sentence: the list of commands wraps it and cuts nothing."""
        return super().get_short_help_str(sys.maxsize)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write arguments and options by group; what has none comes last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                groups.setdefault(getattr(param, "group", "Other"), []).append(record)
        groups["Other"] = groups.pop("Other", [])
        lefts = [left for rows in groups.values() for left, _ in rows]
        # Cells of one width make the columns of all groups begin at the same place.
        width = min(max(map(len, lefts)), _COLUMN)
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl([(left.ljust(width), text) for left, text in rows], width)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def _parameter(option: Declared) -> click.Parameter:
    """The parameter of click for an option."""
    about = option.option
    metavar = about.metavar or None
    attributes: dict[str, Any] = {"type": option.kind}
    if option.choices:
        attributes["type"] = click.Choice(option.choices)
    if option.words:
        attributes["type"] = ValueOrWord(option.kind, option.words)
    if option.positional:
        if option.count is not None:
            attributes |= {"nargs": -1, "required": True}
        return DescribedArgument(option, metavar=metavar, **attributes)
    if option.kind is bool:
        attributes = {"is_flag": True}
    several = about.several
    if option.count is not None:
        attributes["multiple"] = True
        several = r"\d+" if option.count else several
    elif not option.required:
        attributes["default"] = option.default
    text = option.default_text
    return GroupedOption(
        option,
        several,
        help=f"{option.flag_help}  [default: {text}]" if text else option.flag_help,
        metavar=metavar,
        required=option.required,
        show_default=False,
        **attributes,
    )
