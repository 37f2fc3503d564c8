"""Maps a model's class indices to the categories of an annotation file."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from odtk_ray.datasets.ids import id_text
from odtk_ray.errors import UsageError
from odtk_ray.nearest import did_you_mean
from odtk_ray.plural import counted


@dataclass(frozen=True)
class ClassMap:
    """The meaning of each class index of a model in the outputs.

    Attributes:
        ids: for each class the JSON text of its category id.
        names: for each class its name; `class 17` where nothing has names and 17 is its id.
        positions: for each class the position of its category in the file's list; empty without.
        categories: the outputs' `categories`.
        note: the mapping in words, for the user.
    """

    ids: list[str]
    names: list[str]
    positions: list[int]
    categories: list[dict[str, Any]]
    note: str


def map_classes(
    classes: int,
    class_names: Sequence[str] | None,
    category_ids: Sequence[int | str] | None,
    categories: list[dict[str, Any]] | None,
    used: Collection[str] = frozenset(),
) -> ClassMap:
    """Map classes to categories.

    The file's categories win: by name where the model's names are all among them, otherwise in the
    order of the file's list, as ODTK does. Without a file the model's own ids and names are taken,
    and bare class indices where it has none.

    Args:
        classes: number of classes of the model.
        class_names: the model's names, if it has any.
        category_ids: the model's category ids, if it has any.
        categories: the annotation file's list, if there is one.
        used: JSON texts of the category ids that annotations use: of several categories with one
            name the first of these is taken.

    Raises:
        UsageError: the model has more classes than the file has categories.
    """
    if categories:
        return _from_file(classes, class_names, categories, used)
    ids = [json.dumps(i) for i in category_ids or range(classes)]
    names = list(class_names or [f"class {json.loads(i)}" for i in ids])
    own = [{"id": json.loads(i), "name": n} for i, n in zip(ids, names, strict=True)]
    if category_ids or class_names:
        source = "the checkpoint's" if category_ids else "the class index"
        note = f"category_id is {source}: {_words(ids, class_names)}"
    else:
        note = f"category_id is the class index, 0 to {classes - 1}"
    return ClassMap(ids, names, [], own, note)


def _from_file(
    classes: int,
    class_names: Sequence[str] | None,
    categories: list[dict[str, Any]],
    used: Collection[str],
) -> ClassMap:
    if classes > len(categories):
        raise UsageError(
            f"the model has {counted(classes, 'class', 'classes')}, the annotation file "
            f"{counted(len(categories), 'category', 'categories')}",
            "no category would be left for some detections",
            "give the annotation file that the model was trained for",
        )
    file_names = [str(c.get("name", f"class {c['id']}")) for c in categories]
    by_name = bool(class_names) and set(class_names or ()) <= set(file_names)
    if by_name:
        own = [id_text(category["id"]) in used for category in categories]
        # Stable, so that the first of several is the first in the file.
        order = sorted(range(len(categories)), key=lambda position: not own[position])
        positions = [next(p for p in order if file_names[p] == name) for name in class_names or ()]
    else:
        positions = list(range(classes))
    ids = [id_text(categories[p]["id"]) for p in positions]
    names = [file_names[p] for p in positions]
    how = "by name" if by_name else "in the order of the file"
    note = f"category_id follows the annotation file, {how}: {_words(ids, names)}"
    if class_names and not by_name:
        note += f" (the checkpoint calls its classes {', '.join(class_names[:5])})"
        note += _misspelt(class_names, file_names)
    return ClassMap(ids, names, positions, categories, note)


def _misspelt(class_names: Sequence[str], file_names: Sequence[str]) -> str:
    """Ask about the first class that the file may have under another spelling."""
    for name in class_names:
        if name not in file_names and (question := did_you_mean(name, file_names)):
            return f"; the file has no {name}: {question}"
    return ""


def _words(ids: Sequence[str], names: Sequence[str] | None) -> str:
    """Format a mapping: `0 = 1 person, 1 = 2 bicycle, ... (80 classes)`."""
    shown = [f"{i} = {c}{f' {names[i]}' if names else ''}" for i, c in enumerate(ids[:5])]
    more = f", ... ({len(ids)} classes)" if len(ids) > 5 else ""
    return ", ".join(shown) + more
