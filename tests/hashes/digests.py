"""SHA-256 of files, and of what in them has to be the same from one run to the next.

What is left out where, and why, stands at each function; everything else is hashed as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tree_under_test import JOURNAL, JOURNAL_OBJECTS, PLAN, RECORDS, SHARDS

# Of a shard file's footer: the plan's digest, which depends on absolute paths.
_VOLATILE_FOOTER = b"odtk.plan"
# Of a receipt: what differs from one run to the next.
_VOLATILE_KEYS = ("name", "sha256", "committed_at")


def of_bytes(data: bytes) -> str:
    """Of bytes."""
    return hashlib.sha256(data).hexdigest()


def of_value(value: Any) -> str:
    """Of a JSON value; the order of keys counts."""
    return of_bytes(json.dumps(value, indent=1).encode())


def of_folder(folder: Path) -> str:
    """Of the names and the contents of a folder's files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return of_value([[str(p.relative_to(folder)), of_bytes(p.read_bytes())] for p in paths])


def of_lines(path: Path) -> str:
    """Of JSON lines: of a failed image that it failed, without message and absolute path."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return of_value([_without(row, "error", "path") | {"failed": "error" in row} for row in rows])


def of_sidecar(path: Path) -> str:
    """Of a plan's sidecar without hash and length of the plan: TensorRT's plans vary by themselves.

    What plans are made of is in it, by hashes.
    """
    return of_value(
        _without(json.loads(path.read_text(encoding="utf-8")), "plan_sha256", "plan_bytes")
    )


def of_engines(path: Path) -> str:
    """Of an engine set's table: its plans as in `of_sidecar`."""
    table = json.loads(path.read_text(encoding="utf-8"))
    plans = {k: _without(v, "plan_sha256", "plan_bytes") for k, v in table["engines"].items()}
    return of_value(table | {"engines": plans})


def of_run_folder(folder: Path, *stems: str) -> dict[str, str]:
    """Of plan, records, journal and shards of a finished run.

    Args:
        folder: of the run, local.
        stems: beginnings of absolute paths that differ from one machine or run to the next.
    """
    receipts = sorted(read_journal(folder), key=lambda receipt: receipt["shard"])
    tables = [pq.read_table(folder / SHARDS / receipt["name"]) for receipt in receipts]
    return {
        PLAN: of_plan(folder / PLAN, *stems),
        "records": of_value([_table(pq.read_table(p), stems) for p in folder.glob(RECORDS)]),
        "journal": of_value([_without(receipt, *_VOLATILE_KEYS) for receipt in receipts]),
        SHARDS: of_value([_table(table, stems) for table in tables]),
    }


def of_plan(path: Path, *stems: str, left_out: tuple[str, ...] = ()) -> str:
    """Of a run's plan without versions, and without the records' digest: they have absolute paths.

    Args:
        path: of plan.json.
        stems: as in `of_run_folder`.
        left_out: further settings.
    """
    plan = json.loads(_relative(path.read_text(encoding="utf-8"), stems))
    settings = _without(plan["settings"], "versions", *left_out)
    return of_value(_without(plan, "records") | {"settings": settings})


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The receipts of what is committed, in order, without a line that is being written."""
    paths: Iterable[Path] = [folder / JOURNAL, *sorted(folder.glob(JOURNAL_OBJECTS))]
    text = "".join(path.read_text(encoding="utf-8") for path in paths if path.exists())
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _table(table: pa.Table, stems: tuple[str, ...]) -> list[Any]:
    """What a Parquet file holds: schema with metadata, and rows; floats in full."""
    metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k != _VOLATILE_FOOTER}
    schema = table.schema.remove_metadata().to_string()
    facts = [schema, {k.decode(): v.decode() for k, v in metadata.items()}, table.to_pylist()]
    return list(json.loads(_relative(json.dumps(facts), stems)))


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _relative(text: str, stems: tuple[str, ...]) -> str:
    for stem in stems:
        text = text.replace(stem, "STEM")
    return text
