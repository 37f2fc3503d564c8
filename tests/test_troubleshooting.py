"""docs/troubleshooting.md quotes messages that the program has."""

from __future__ import annotations

import ast
import re

import pytest
from documents import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
ROWS = re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def texts():
    """Every text in the source, those of f-strings in their parts."""
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in (ROOT / "odtk_ray").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [node.value for node in nodes if isinstance(node.value, str)]


def fixed_parts(message):
    """What stands between the names and numbers of a message, and the colon before a reason."""
    parts = [part.strip(" :,") for part in re.split(r"\.\.\.|: ", message)]
    return [part for part in parts if part]


def test_there_are_messages():
    assert len(ROWS) >= 60
    assert len({message for message, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("message", [message for message, _ in ROWS])
def test_a_quoted_message_is_in_the_source(texts, message):
    parts = fixed_parts(message)
    assert max(map(len, parts)) >= 8
    for part in parts:
        assert any(part in text for text in texts), part


def test_an_old_message_is_noticed(texts):
    assert fixed_parts("cannot use ..., it is old: do ...") == ["cannot use", "it is old", "do"]
    assert not any("the runs folder" in text for text in texts)
