"""Checks of ground truth that evaluation and `odtk-ray doctor` share."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from odtk_ray.datasets.ids import id_text, is_id
from odtk_ray.datasets.problems import Findings, Problem, shown


def image_problem(image_id: object, known: Collection[str]) -> Problem:
    """Return what is wrong with an `image_id` that is not among the texts of the images' ids."""
    return Problem.IMAGE_TEXT if _other_type(image_id) in known else Problem.IMAGE


def category_problem(category_id: object, known: Collection[str]) -> Problem:
    """Return what is wrong with a `category_id` that is not among those of the categories' ids."""
    return Problem.CATEGORY_TEXT if _other_type(category_id) in known else Problem.CATEGORY


def _other_type(value: object) -> str | None:
    """Return `1` for the id "1", `"1"` for 1; None for what is no id."""
    if not is_id(value):
        return None
    return value if isinstance(value, str) else json.dumps(id_text(value))


def names_that_repeat(categories: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the names that several categories have, each with the texts of their ids."""
    ids: dict[str, list[str]] = defaultdict(list)
    for category in categories:
        if "name" in category:
            ids[str(category["name"])].append(id_text(category.get("id")))
    return {name: texts for name, texts in ids.items() if len(texts) > 1}


def add_names_that_repeat(findings: Findings, categories: Iterable[Mapping[str, Any]]) -> None:
    """Count the names that several categories have."""
    for name, ids in names_that_repeat(categories).items():
        findings.add(Problem.SAME_NAME, f"is {shown(name)} (ids {', '.join(ids[:5])})")


class WholeFile:
    """Collects what only all annotations together show."""

    def __init__(self) -> None:
        self._count = 0
        self._first: object = None
        self._crowd = self._unit = True

    def add(self, entry: Mapping[str, Any], numbers: Sequence[float]) -> None:
        """Look at an annotation with a usable box.

        Args:
            entry: the annotation.
            numbers: x, y, width and height of its box, or the coordinates of its outline, pixels.
        """
        if not self._count:
            self._first = entry.get("id")
        self._count += 1
        self._crowd = self._crowd and bool(entry.get("iscrowd"))
        self._unit = self._unit and min(numbers) >= 0 and max(numbers) <= 1

    def report(self, findings: Findings) -> None:
        """Add what is true of all annotations."""
        for problem, found in ((Problem.CROWD, self._crowd), (Problem.UNIT, self._unit)):
            if found and self._count:
                findings.add(problem, f"has id {shown(self._first)}", self._count)
