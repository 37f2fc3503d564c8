"""The scores that detections of each class need to be kept: `--thresholds`, `--only-classes`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError
from odtk_ray.evaluation.thresholds_file import read_thresholds
from odtk_ray.nearest import did_you_mean
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter

# No score is greater: the class is left out.
_NEVER = 1.0


def class_limits(
    config: InferConfig, ids: Sequence[str], names: Sequence[str], reporter: Reporter
) -> tuple[float, ...]:
    """Return the limit of each class index, which scores must be greater than.

    Args:
        config: the user's settings.
        ids: JSON texts of the categories of the classes.
        names: names of the classes.
        reporter: told of classes without a threshold.

    Returns:
        an empty tuple where neither option is given.

    Raises:
        UsageError: a class that is named is none of the model's, or the file cannot be used.
    """
    if config.thresholds is None and not config.only_classes:
        return ()
    limits = [0.0] * len(ids)
    if config.thresholds is not None:
        limits = _from_file(config.thresholds, ids, names, reporter)
    if config.only_classes:
        wanted = {_place(name, ids, names) for name in config.only_classes}
        limits = [limit if i in wanted else _NEVER for i, limit in enumerate(limits)]
    return tuple(limits)


def _from_file(
    path: str, ids: Sequence[str], names: Sequence[str], reporter: Reporter
) -> list[float]:
    """Read the limits of classes, by name; of a model without names by the id of the category."""
    entries = read_thresholds(path).classes
    by_name = {entry.name: entry.threshold for entry in entries}
    by_id = {json.dumps(entry.id): entry.threshold for entry in entries}
    found = [by_name.get(name, by_id.get(key) if name == f"class {_plain(key)}" else None)
             for key, name in zip(ids, names, strict=True)]  # fmt: skip
    without = [name for name, limit in zip(names, found, strict=True) if limit is None]
    if len(without) == len(names):
        raise UsageError(
            f"{path} has no threshold for any class of the model",
            f"it has {', '.join(list(by_name)[:5])}; the model has {', '.join(names[:5])}",
        )
    if without:
        reporter.note(
            f"{counted(len(without), 'class has', 'classes have')} no threshold in {path}, the "
            f"first is {without[0]}: their detections are all kept"
        )
    return [0.0 if limit is None else limit for limit in found]


def _place(wanted: str, ids: Sequence[str], names: Sequence[str]) -> int:
    for known in (list(names), [_plain(key) for key in ids]):
        if wanted in known:
            return known.index(wanted)
    raise UsageError(
        f"--only-classes {wanted} is no class of the model",
        f"it has {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}",
        did_you_mean(wanted, names),
    )


def _plain(key: str) -> str:
    return str(json.loads(key))
