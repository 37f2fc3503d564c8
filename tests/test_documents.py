"""The README and docs/: every link leads somewhere, every command of odtk-ray can be typed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import click
import pytest
from documents import PAGES, ROOT, anchors, blocks, links, odtk_ray_calls

from odtk_ray.cli.program import cli
from odtk_ray.errors import UsageError

# The changelog may name what later versions no longer have.
CALLS = [
    (page.name, call)
    for page in PAGES
    if page.name != "CHANGELOG.md"
    for call in odtk_ray_calls(page)
]
WRONG = ["infer m.pth --no-such-flag", "infer m.pth --batch many", "inferr m.pth"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_has_every_page():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set(index.parent.glob("*.md")) - {index} <= listed


def test_code_names_no_page_that_is_not_there():
    sources = [f for folder in ("odtk_ray", "cuda_ops", "jobs") for f in (ROOT / folder).rglob("*")]
    for source in sources:
        if source.suffix in {".py", ".cu", ".cuh", ".sh", ".yaml", ".md"}:
            for page in re.findall(r"docs/\w+\.md", source.read_text(encoding="utf-8")):
                assert (ROOT / page).exists(), f"{source}: {page}"


def test_there_are_calls():
    assert len(CALLS) >= 60


def parse(call: list[str]) -> None:
    """Parse a command line as the program does, without running it."""
    try:
        with cli.make_context("odtk-ray", list(call)) as context:
            name, command, rest = cli.resolve_command(context, list(call))
            command.make_context(name, rest, parent=context)
    except click.MissingParameter:
        pass  # texts name commands without all that they need, as `odtk-ray export --int8`
    except click.exceptions.Exit:
        pass  # --help and --version


@pytest.mark.parametrize(("page", "call"), CALLS, ids=lambda value: str(value)[:60])
def test_every_call_can_be_typed(page, call, tmp_path, monkeypatch):
    """A file for `--config` is there, with what the page shows of one."""
    monkeypatch.chdir(tmp_path)
    for flag, name in itertools.pairwise(call):
        if flag == "--config":
            shown = blocks(next(p for p in PAGES if p.name == page), "toml")
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(shown[0][1] if shown else f"[{call[0]}]\n", encoding="utf-8")
    parse(call)


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_call_is_noticed(call):
    with pytest.raises((click.UsageError, UsageError)):
        parse(call.split())
