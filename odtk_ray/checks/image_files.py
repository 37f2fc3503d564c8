"""Checks the image files that an annotation file names, by their headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from odtk_ray import storage
from odtk_ray.datasets.annotation_paths import below, image_path, is_file_name, leads_out
from odtk_ray.datasets.picture_remarks import picture_problems, stated_size
from odtk_ray.datasets.problems import Findings, Problem, shown
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.images.decode_image import Header, read_header
from odtk_ray.records import Traits

_BATCH = 4096
_THREADS = 8  # headers are read from disks and object stores that answer several requests at once


def examine_files(
    entries: Mapping[Any, Mapping[str, Any]], images: str, findings: Findings
) -> set[Any]:
    """Check that the image files are where a run looks for them, and what their headers say.

    Args:
        entries: entries of `images` by id.
        images: the image folder.
        findings: get what is wrong.

    Returns:
        ids of the images that cannot be read.
    """
    paths = _paths(entries, images, findings)
    there = storage.existing(images, (below(images, path) for path in paths.values()))
    lost = {key for key, here in zip(paths, there, strict=True) if not here}
    for key, path in paths.items():
        if key in lost:
            problem = Problem.OUTSIDE if leads_out(images, path) else Problem.NO_FILE
            findings.add(problem, f"is {shown(entries[key]['file_name'])}")
    for key, header in _headers({key: path for key, path in paths.items() if key not in lost}):
        name = shown(entries[key]["file_name"])
        if isinstance(header, str):
            findings.add(Problem.NO_PICTURE, f"is {name} ({header})")
            lost.add(key)
            continue
        size, traits = (header.width, header.height), Traits(header.orientation)
        for problem, detail in picture_problems(stated_size(entries[key]), size, traits):
            findings.add(problem, f"is {name} ({detail})")
    return lost | (entries.keys() - paths.keys())


def _paths(
    entries: Mapping[Any, Mapping[str, Any]], images: str, findings: Findings
) -> dict[Any, str]:
    paths: dict[Any, str] = {}
    for key, entry in entries.items():
        name = entry.get("file_name")
        if not is_file_name(name):
            findings.add(Problem.NO_NAME, f"has id {shown(entry.get('id'))}")
            continue
        try:
            paths[key] = image_path(images, name)
        except UsageError:
            findings.add(Problem.OUTSIDE, f"is {shown(name)}")
    return paths


def _headers(paths: Mapping[Any, str]) -> Iterator[tuple[Any, Header | str]]:
    """Yield the header of each file, or why it cannot be read, by id."""
    keys = list(paths)
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(keys), _BATCH):  # the pool would queue millions at once
            some = keys[start : start + _BATCH]
            yield from zip(some, pool.map(_read, (paths[key] for key in some)), strict=True)


def _read(path: str) -> Header | str:
    """Read a header, or return why it cannot be read."""
    try:
        with storage.open_input(path) as stream:
            return read_header(stream)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
