"""Help pages: options in groups, examples that are commands, nothing cut, at usual widths."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner

from odtk_ray.cli.program import cli
from odtk_ray.config import ExportConfig, InferConfig
from odtk_ray.options import options_of

COMMANDS = sorted(cli.commands)


def page(*arguments, width=80):
    outcome = CliRunner().invoke(cli, [*arguments, "--help"], terminal_width=width)
    assert outcome.exit_code == 0
    return outcome.stdout


def words(text):
    return " ".join(text.split())


def sections(text):
    """Headings and what is below each, of a help page."""
    return dict(re.findall(r"^(\w[\w ]*):\n((?:  .*\n|\n)+)", text, re.MULTILINE))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [80, 100])
def test_lines_fit_the_terminal(command, width):
    assert max(map(len, page(command, width=width).splitlines())) <= width


@pytest.mark.parametrize("command", COMMANDS)
def test_two_examples_that_can_be_parsed(command):
    examples = sections(page(command))["Examples"].splitlines()
    assert len(examples) == 2
    for example in examples:
        program, name, *arguments = shlex.split(example)
        assert (program, name) == ("odtk-ray", command)
        cli.commands[command].make_context(command, arguments)


@pytest.mark.parametrize(
    ("command", "settings"), [("infer", InferConfig), ("export", ExportConfig)]
)
def test_every_option_is_in_its_group_with_its_help_and_default(command, settings):
    found = sections(page(command))
    for option in options_of(settings).values():
        text = words(found[option.option.group])
        assert words(option.flag_help) in text
        assert option.positional or f"{option.flag} " in text
        assert f"[default: {option.default_text}]" in text or not option.default_text
    assert "--debug" in found["Other"]
    assert "--help" in found["Other"]


@pytest.mark.parametrize("command", COMMANDS)
def test_values_are_named_by_what_they_are(command):
    text = page(command)
    assert not re.search("TEXT|INTEGER|FLOAT|RANGE", text)


def test_summaries_are_whole_sentences():
    listed = words(sections(page())["Commands"])
    assert "..." not in listed
    for name, command in cli.commands.items():
        first = words(command.help).partition(".")[0]
        assert f"{name} {first}." in listed


@pytest.mark.parametrize(("arguments", "expected"), [
    ([], ()),
    (["--output", "a.json"], ("a.json",)),
    (["--output", "a.json", "b.csv", "--batch", "2"], ("a.json", "b.csv")),
    (["--output=a.json", "--output", "b.csv"], ("a.json", "b.csv")),
])  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_several_values_behind_a_flag(arguments, expected, first):
    line = ["m.pth", *arguments] if first else [*arguments, "m.pth"]
    context = cli.commands["infer"].make_context("infer", line)
    assert (context.params["model"], context.params["output"]) == ("m.pth", expected)


@pytest.mark.parametrize(("flags", "size"), [
    ([], None), (["640"], (640, 640)), (["480", "640"], (480, 640)),
])  # fmt: skip
def test_one_number_is_a_square(flags, size):
    from odtk_ray.cli.command import values_of

    line = ["m.pth", "m.onnx", *(["--size", *flags] if flags else [])]
    context = cli.commands["export"].make_context("export", line)
    assert values_of(ExportConfig, context.params).get("size") == size


def test_options_without_a_group_are_listed_with_the_others():
    from odtk_ray.cli.command import Command

    plain = Command("plain", params=[click.Option(["--odd"], help="Odd.")], examples=())
    assert "--odd" in sections(CliRunner().invoke(plain, ["--help"]).stdout)["Other"]
