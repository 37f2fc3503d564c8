"""Counts what is odd about the pictures of a shard, so that a run can say it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa

from odtk_ray.datasets.picture_remarks import picture_problems
from odtk_ray.datasets.problems import Finding, Findings, Problem, shown
from odtk_ray.records import ImageResult
from odtk_ray.typed_json import WrongJsonError

# A problem's name, the number of its pictures, the first one's record index, and its details.
Sighting = tuple[str, int, int, str]


def sightings(
    rows: Iterable[tuple[int, ImageResult]], planned: Mapping[int, tuple[int, int]]
) -> tuple[Sighting, ...]:
    """Count the odd pictures of a shard.

    Args:
        rows: results by record index.
        planned: (width, height) by record index, 0 0 where unknown.
    """
    counts: Counter[str] = Counter()
    firsts: dict[str, tuple[int, str]] = {}
    for index, result in sorted(rows, key=lambda row: row[0]):
        if result.error is None:
            size = result.width, result.height
            for problem, detail in picture_problems(planned[index], size, result.traits):
                counts[problem.name] += 1
                firsts.setdefault(problem.name, (index, detail))
    return tuple((name, counts[name], *first) for name, first in firsts.items())


def check_sightings(found: Iterable[Sighting], records: int) -> None:
    """See that sightings which were read back fit their plan.

    Args:
        found: of one shard.
        records: number of the plan's records.

    Raises:
        WrongJsonError: one names a problem or a record that there is not.
    """
    for name, _, index, _ in found:
        if name not in Problem.__members__:
            raise WrongJsonError(f"sightings has the problem {name[:40]!r}, which is none")
        if not 0 <= index < records:
            raise WrongJsonError(f"sightings has record {index}, and there are {records}")


def summarise(parts: Iterable[Iterable[Sighting]], records: pa.Table) -> list[Finding]:
    """Add up the sightings of all shards; the first picture is that of the lowest index.

    Args:
        parts: sightings by shard.
        records: a table of RECORD_SCHEMA.
    """
    findings = Findings()
    flat = [sighting for part in parts for sighting in part]
    for name, count, index, detail in sorted(flat, key=lambda sighting: sighting[2]):
        file = records["file_name"][index].as_py()
        findings.add(Problem[name], f"is {shown(file)} ({detail})", count)
    return list(findings)
