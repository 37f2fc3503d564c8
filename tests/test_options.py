"""What declarations of options say, and that the documents which are made from them are current."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from odtk_ray.errors import UsageError
from odtk_ray.options import Option, check_options, flag_of, options_of

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Settings:
    model: Annotated[str, Option("Arguments", "A file.", "MODEL")]
    internal: int = 3
    level: Annotated[int | None, Option("Other", "A level.", "N", "the model's", minimum=1)] = None
    share: Annotated[float, Option("Other", "A share.", minimum=0, maximum=1)] = 0.5
    size: Annotated[tuple[int, int] | None, Option("Other", "A size.", minimum=32)] = None
    names: Annotated[tuple[str, ...], Option("Other", "Names.")] = ("a", "b")
    mode: Annotated[Literal["on", "off"] | None, Option("Other", "A mode.")] = None
    quick: Annotated[bool, Option("Other", "Be quick.")] = False
    count: Annotated[int, Option("Other", "A count.")] = 0
    batch: Annotated[int | Literal["auto"] | None, Option("Other", "A batch.", minimum=1)] = None


def function(
    first: str,
    *,
    from_: Annotated[int, Option("Other", "A start.")],
    end: Annotated[str | None, Option("Other", "An end.")] = None,  # Python 3.10 wraps its type
    **more: int,
): ...


@pytest.mark.parametrize(("declaration", "names"), [
    (dataclass(type("Empty", (), {})), []),
    (function, ["from_", "end"]),
    (Settings, ["model", "level", "share", "size", "names", "mode", "quick", "count", "batch"]),
])  # fmt: skip
def test_what_has_an_option_is_one(declaration, names):
    assert list(options_of(declaration)) == names


@pytest.mark.parametrize(("name", "kind", "count", "text"), [
    ("model", str, None, ""),
    ("level", int, None, "the model's"),
    ("share", float, None, "0.5"),
    ("size", int, 2, ""),
    ("names", str, 0, "a b"),
    ("mode", Literal["on", "off"], None, ""),
    ("quick", bool, None, ""),
    ("count", int, None, "0"),
    ("batch", int, None, ""),
])  # fmt: skip
def test_types_and_defaults(name, kind, count, text):
    option = options_of(Settings)[name]
    assert (option.kind, option.count, option.default_text) == (kind, count, text)
    assert option.positional is option.required is (name == "model")


def test_words_may_stand_instead_of_a_value():
    words = {name: option.words for name, option in options_of(Settings).items() if option.words}
    assert words == {"batch": ("auto",)}


def test_flags():
    assert [flag_of(name) for name in ("top_n", "from_")] == ["--top-n", "--from"]


@pytest.mark.parametrize(("values", "words"), [
    ({}, None),
    ({"level": 1, "share": 1.0, "size": (32, 32), "mode": "on"}, None),
    ({"batch": "auto"}, None),
    ({"batch": "fast"}, "--batch fast is unknown: it is a number or auto"),
    ({"batch": 0}, "--batch 0 is out of range: it must be at least 1"),
    ({"level": 0}, "--level 0 is out of range: it must be at least 1"),
    ({"level": 10**20}, None),
    ({"share": -0.1}, "--share -0.1 is out of range: it must be between 0 and 1"),
    ({"share": float("nan")}, "--share nan is out of range"),
    ({"size": (32, 31)}, "--size 31 is out of range: it must be at least 32"),
    ({"mode": "auto"}, "--mode auto is unknown: it is one of on, off"),
])  # fmt: skip
def test_ranges_and_choices(values, words):
    settings = Settings("m.pth", **values)
    if words is None:
        check_options(settings)
        return
    with pytest.raises(UsageError) as refused:
        check_options(settings)
    assert words in str(refused.value)


def test_tables_and_docstrings_are_current():
    """If they are not: `python .ci/option_docs.py --write`."""
    script = [sys.executable, ROOT / ".ci" / "option_docs.py"]
    run = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, ""), run.stdout + run.stderr


def test_pages_have_a_table_of_each_command():
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    rows = {
        "infer": "| `--top-n N`",
        "evaluate": "| `--precision P`",
        "compare": "| `--draws N`",
        "export": "| `--opset N`",
        "bench": "| `--launches N`",
    }
    for command, row in rows.items():
        _, _, rest = text.partition(f"<!-- options of {command} -->")
        assert row in rest.partition("<!-- end of options -->")[0]
