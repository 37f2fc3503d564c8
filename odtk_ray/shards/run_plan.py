"""The stored plan of a run: what is fixed before the first image.

plan.json       settings and what the outputs need; its hash is the plan's digest
plan-*.parquet  the records, with the shard of each; its name has its digest
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.records import RECORD_SCHEMA
from odtk_ray.settings import RunSettings
from odtk_ray.shards.cut_shards import Shard
from odtk_ray.storage import write_atomic

_FORMAT = 1


RUN_PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class RunPlan:
    """Everything that is fixed before a run's first image.

    Attributes:
        settings: everything that determines the outputs' bytes.
        outputs: values for merge and evaluation (categories, classes, left-out images).
        records: table of RECORD_SCHEMA, in record order.
        shards: how the records are cut.
    """

    settings: RunSettings
    outputs: dict[str, Any]
    records: pa.Table
    shards: list[Shard]


def read_run_plan(path: str) -> tuple[RunPlan, str]:
    """Read the plan in a run folder; return it and its digest.

    Raises:
        UsageError: the folder holds no whole plan.
    """
    try:
        text = storage.read_bytes(storage.join(path, RUN_PLAN_FILE))
        document = json.loads(text)
        data = storage.read_bytes(storage.join(path, _records_name(document["records"])))
        if document["format"] != _FORMAT or document["records"] != sha256_of(data):
            raise ValueError("the plan and its records do not belong together")
        table = pq.read_table(pa.BufferReader(data))
        settings = RunSettings.from_json(document["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot resume from {path}",
            "it is not a run folder, or it is damaged",
            "remove the folder and start again without --resume",
        ) from error
    order = np.lexsort((table["position"].to_numpy(), table["shard"].to_numpy()))
    counts = np.bincount(table["shard"].to_numpy())
    shards = [Shard(i, r) for i, r in enumerate(np.split(order, np.cumsum(counts)[:-1]))]
    records = table.select(RECORD_SCHEMA.names)
    return RunPlan(settings, document["outputs"], records, shards), sha256_of(text)


def write_records(path: str, plan: RunPlan) -> bytes:
    """Write the plan's records; return the content for plan.json."""
    shard_of, position = np.empty((2, len(plan.records)), np.int32)
    for shard in plan.shards:
        shard_of[shard.rows] = shard.number
        position[shard.rows] = np.arange(len(shard), dtype=np.int32)
    table = plan.records.append_column("shard", pa.array(shard_of))
    table = table.append_column("position", pa.array(position))
    buffer = io.BytesIO()
    # Small row groups limit the writer's memory: the default is 1 million rows.
    pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 14)
    digest = sha256_of(buffer.getvalue())
    write_atomic(storage.join(path, _records_name(digest)), buffer.getvalue())
    document = {
        "format": _FORMAT,
        "records": digest,
        "settings": plan.settings.to_json(),
        "outputs": plan.outputs,
    }
    return json.dumps(document, indent=1).encode()


def _records_name(digest: str) -> str:
    return f"plan-{digest[:16]}.parquet"  # two drivers that plan at once write two files


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
