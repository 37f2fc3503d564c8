"""Keeps what documents the options equal to their declarations; `--write` brings it up to date.

- Tables between `<!-- options of infer -->` and `<!-- end of options -->` in docs/.
- The `Args` of the functions in odtk_ray/api/, where options are named as arguments.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from odtk_ray.config import (
    BenchConfig,
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    InferConfig,
)
from odtk_ray.options import Declared, options_of

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "infer": InferConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "bench": BenchConfig,
}
_TABLE = re.compile(r"(<!-- options of (\w+) -->\n).*?(?=<!-- end of options -->)", re.DOTALL)
_ARGS = re.compile(
    rf"(\ndef ({'|'.join(SETTINGS)})\(.*?\n    Args:\n).*?(?=        reporter: )", re.DOTALL
)
_FLAG = re.compile(r"--([a-z][a-z0-9-]*)")
_WIDTH = 100


def main(arguments: list[str]) -> int:
    """Says which files are out of date, or writes them; returns the exit code."""
    stale = [(path, text) for path, text in documents() if path.read_text("utf-8") != text]
    for path, text in stale:
        if "--write" in arguments:
            path.write_text(text, "utf-8")
        print(f"{path.relative_to(ROOT)} {'is written' if '--write' in arguments else 'is stale'}")
    return bool(stale) and "--write" not in arguments


def documents() -> Iterator[tuple[Path, str]]:
    """Files with parts that are made from the declarations, and what their text should be."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        yield path, with_tables(path.read_text("utf-8"))
    for path in sorted((ROOT / "odtk_ray" / "api").glob("*.py")):
        yield path, with_arguments(path.read_text("utf-8"))


def with_tables(text: str) -> str:
    """Fill the places for tables in a page."""
    return _TABLE.sub(lambda found: found[1] + table(flags_of(found[2])), text)


def with_arguments(text: str) -> str:
    """Fill the places for arguments in a module of the API."""
    return _ARGS.sub(lambda found: found[1] + arguments_of(found[2]), text)


def flags_of(command: str) -> list[Declared]:
    """List the options of a command that are written with a flag."""
    return [o for o in options_of(SETTINGS[command]).values() if not o.positional]


def table(flags: Iterable[Declared]) -> str:
    """Format a table of options, by group."""
    rows = ["| option | default | ODTK | |", "|---|---|---|---|"]
    for group, options in groupby(flags, lambda o: o.option.group):
        rows.append(f"| **{group}** | | | |")
        rows += [row(option) for option in options]
    return "\n".join(rows) + "\n"


def row(option: Declared) -> str:
    """Format the row of an option in a table."""
    about = option.option
    name = f"`{f'{option.flag} {about.metavar}'.strip()}`"
    values = ", ".join(f"`{choice}`" for choice in option.choices)
    default = option.default_text
    if default and not about.unset:
        default = f"`{default}`"
    text = _FLAG.sub(r"`\g<0>`", option.flag_help)
    cells = f"{name} {values}".strip(), default, "same" if about.in_odtk else "", text
    return f"| {' | '.join(cells)} |"


def arguments_of(command: str) -> str:
    """Format the lines of a docstring on the arguments of a function of the API."""
    return "".join(
        textwrap.fill(
            f"{option.name}: {sentence(option)}", _WIDTH,
            initial_indent=" " * 8, subsequent_indent=" " * 12, break_on_hyphens=False,
        ) + "\n"
        for option in options_of(SETTINGS[command]).values()
    )  # fmt: skip


def sentence(option: Declared) -> str:
    """Describe an option in words of the API: `--run-dir` is the argument `run_dir`."""
    about = option.option
    text = f"{about.help} Default: {about.unset}." if about.unset else about.help
    return _FLAG.sub(lambda found: f"`{found[1].replace('-', '_')}`", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
