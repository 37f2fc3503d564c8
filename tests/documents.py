"""The README and the pages of docs/ as the tests read them: links, headings, blocks of commands."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "jobs" / "demo" / "README.md",
]
_BLOCK = re.compile(r"^```(\S*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, kind: str) -> list[tuple[str, str]]:
    """Return (tag, text) of a page's blocks of a kind: ("cluster", ...) for "```sh cluster"."""
    return [
        (tag, body)
        for found, tag, body in _BLOCK.findall(page.read_text(encoding="utf-8"))
        if found == kind
    ]


def command_lines(text: str) -> list[str]:
    """Return the commands of a shell block without comments, continued lines as one."""
    lines = re.sub(r"\s+#.*", "", text).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip()]


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures, those on the web left out."""
    return re.findall(r"\]\((?!https?://)([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page: GitHub's names of its headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def odtk_ray_calls(page: Path) -> list[list[str]]:
    """Return the arguments of every `odtk-ray ...` of a page, in blocks and between backticks."""
    typed = [line for _, body in blocks(page, "sh") for line in command_lines(body)]
    typed += re.findall(r"`(odtk-ray [^`]+)`", prose(page))
    calls = []
    for line in typed:
        words = shlex.split(line.replace("-m odtk_ray", "odtk-ray"))
        if "odtk-ray" in words:
            call = words[words.index("odtk-ray") + 1 :]
            calls.append(list(itertools.takewhile(lambda word: word not in (">", ">>"), call)))
    return calls
