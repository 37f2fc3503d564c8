"""How an option is declared: once, with its help, beside its type and default.

    @dataclass(frozen=True)
    class Postprocessing:
        top_n: Annotated[int, Option("Detections", "Candidates kept.", "N", minimum=1)] = 1000

The command line, the tables of the documentation and the docstrings of the API are made from such
declarations, or compared with them. They stand on the fields of a dataclass of settings, or on
the parameters of a function.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from odtk_ray.errors import UsageError

Group = Literal[
    "Arguments",
    "Images",
    "Network input",
    "Model",
    "Detections",
    "Thresholds",
    "Matches",
    "Bootstrap",
    "Output",
    "ONNX",
    "TensorRT",
    "INT8",
    "Check",
    "Serving",
    "Conventions",
    "Workers",
    "Cluster",
    "Faults",
    "Other",
]


@dataclass(frozen=True)
class Option:
    """What is to be said of an option besides its name, type and default.

    Attributes:
        group: heading under which helps and tables have it.
        help: sentences, with the unit; other options are named by their flags.
        metavar: what stands for a value: FILE, DIR, MODEL, N, PIXELS, SECONDS; empty for flags and
            choices.
        unset: what an option that is not given stands for, where its default does not say it.
        minimum: the least value, if there is one; of several values, that of each.
        maximum: the greatest.
        several: regular expression; arguments like it that follow the flag are values of it too, as
            behind ODTK's `--output a.json b.json`.
        pairs: whether values come in twos, of which one that stands alone counts for both.
        in_odtk: whether ODTK has this flag.
    """

    group: Group
    help: str
    metavar: str = ""
    unset: str = ""
    minimum: float | None = None
    maximum: float | None = None
    several: str = ""
    pairs: bool = False
    in_odtk: bool = False


# What a value of each type may be, and how that is said.
_KINDS: dict[Any, tuple[Any, str]] = {
    bool: (bool, "True or False"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "text"),
}


@dataclass(frozen=True)
class Declared:
    """An option with what its declaration says of it.

    Attributes:
        name: of the field or parameter.
        hint: its type, without the annotation.
        default: its default; `inspect.Parameter.empty` without one.
        positional: whether it stands on the command line without a flag.
        option: the rest.
        kind: type of one value: bool, int, float or str, or a `Literal` of strings.
        words: what may stand instead of a value, as `auto` of `int | Literal["auto"]`.
        count: how many values there are: None for one that is no tuple, 0 for any number.
    """

    name: str
    hint: Any
    default: Any
    positional: bool
    option: Option
    kind: Any
    count: int | None
    words: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return flag_of(self.name)

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that there are; empty where the type says it all."""
        return get_args(self.kind)

    @property
    def default_text(self) -> str:
        """The default for people; empty where there is nothing to say of it."""
        silent = self.required or self.default is None or self.default is False
        if self.option.unset or silent:
            return self.option.unset
        if isinstance(self.default, tuple):
            return " ".join(map(str, self.default))
        return f"{self.default:,}" if isinstance(self.default, int) else str(self.default)

    @property
    def flag_help(self) -> str:
        """The help on the flag."""
        return f"{self.option.help} May be repeated." if self.count == 0 else self.option.help

    def check(self, value: Any) -> None:
        """Refuse one value that is out of range, or no choice.

        Raises:
            UsageError: it is; the flag and the range are named.
        """
        if value in self.words:
            return
        if self.words and isinstance(value, str):
            raise UsageError(
                f"{self.flag} {value} is unknown",
                f"it is a number or {' or '.join(self.words)}",
            )
        self._check_type(value)
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{self.flag} {value} is unknown", f"it is one of {', '.join(self.choices)}"
            )
        self._check_range(value)

    def _check_type(self, value: Any) -> None:
        kinds, words = _KINDS.get(self.kind, _KINDS[str])  # choices are text
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            raise UsageError(f"{self.flag} {value!r} is not {words}")

    def _check_range(self, value: float) -> None:
        low, high = self.option.minimum, self.option.maximum
        if low is None:
            return
        # Written so that NaN is refused too.
        if high is not None and not low <= value <= high:
            raise UsageError(
                f"{self.flag} {value} is out of range",
                f"it must be between {_figure(low)} and {_figure(high)}",
            )
        if not low <= value < math.inf:
            raise UsageError(
                f"{self.flag} {value} is out of range", f"it must be at least {_figure(low)}"
            )


def _figure(value: float) -> str:
    """Write a bound for people."""
    return f"{value:,}"


def flag_of(name: str) -> str:
    """Return the flag of a field or an argument: `--top-n` of `top_n`, `--from` of `from_`."""
    return "--" + name.rstrip("_").replace("_", "-")


def options_of(declaration: Callable[..., Any]) -> dict[str, Declared]:
    """Return the options that a dataclass or a function declares, by name and in their order.

    Fields and parameters without an `Option` are left out. Annotations that are text have to be
    compiled first: the modules with many options do without `from __future__ import annotations`.
    """
    return _read_options(declaration)


def check_options(settings: Any) -> None:
    """Refuse settings of which a value is out of its declared range, or no choice.

    Args:
        settings: a dataclass whose fields declare options; None is no value.

    Raises:
        UsageError: a value is; its flag is named.
    """
    for option in options_of(type(settings)).values():
        value = getattr(settings, option.name)
        if option.count and value is not None and len(value) != option.count:
            raise UsageError(f"{option.flag} {value} are not {option.count} values")
        for single in value if isinstance(value, tuple) else (value,):
            if single is not None:
                option.check(single)


@functools.cache
def _read_options(declaration: Callable[..., Any]) -> dict[str, Declared]:
    hints = get_type_hints(declaration, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(declaration).parameters.items():
        if (annotated := _annotated(hints.get(name))) is not None:
            hint, option = get_args(annotated)
            kind, count, words = _value_type(hint)
            positional = option.group == "Arguments"
            default = parameter.default
            found[name] = Declared(name, hint, default, positional, option, kind, count, words)
    return found


def _annotated(hint: Any) -> Any:
    """Return the type of a parameter with its `Option`; None where it has none.

    Of a parameter whose default is None, Python 3.10 says that it is that type, or None.
    """
    parts = (hint, *get_args(hint))
    return next((part for part in parts if get_origin(part) is Annotated), None)


def _value_type(hint: Any) -> tuple[Any, int | None, tuple[str, ...]]:
    """Return the type of one value, how many there are, and words, as `Declared` has them."""
    words: tuple[str, ...] = ()
    if get_origin(hint) in (Union, types.UnionType):
        hint, *literals = (part for part in get_args(hint) if part is not type(None))
        words = tuple(word for literal in literals for word in get_args(literal))
    if get_origin(hint) is not tuple:
        return hint, None, words
    kinds = get_args(hint)
    return kinds[0], 0 if kinds[-1] is Ellipsis else len(kinds), words
