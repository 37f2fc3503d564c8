"""What a check found: how bad it is, what it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    """How bad a finding is; a problem stops runs or makes their results wrong."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of `odtk-ray doctor`.

    Attributes:
        name: of what was examined.
        level: how bad it is.
        text: what was found.
        remedy: what to do about it; empty where there is nothing to do.
    """

    name: str
    level: Level
    text: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the texts by the names of the attributes."""
        return {
            "name": self.name,
            "level": self.level.value,
            "text": self.text,
            "remedy": self.remedy,
        }


def ok(name: str, text: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(name, Level.OK, text)


def warning(name: str, text: str, remedy: str = "") -> Finding:
    """Return a finding that makes runs slower, or some of them impossible."""
    return Finding(name, Level.WARNING, text, remedy)


def problem(name: str, text: str, remedy: str = "") -> Finding:
    """Return a finding that stops runs, or makes their results wrong."""
    return Finding(name, Level.PROBLEM, text, remedy)
