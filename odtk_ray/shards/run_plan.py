"""The stored plan of a run: what is fixed before the first image.

plan.json       settings and what the outputs need; its hash is the plan's digest
plan-*.parquet  the records, with the shard of each; its name has its digest
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.records import RECORD_SCHEMA
from odtk_ray.settings import RunSettings
from odtk_ray.shards.cut_shards import Shard
from odtk_ray.shards.epoch_files import unusable_run
from odtk_ray.shards.launch_rates import MeasuredLaunches
from odtk_ray.storage import write_atomic
from odtk_ray.typed_json import OtherFormatError, parse_json, typed, typed_versioned

_FORMAT = 3  # 2: the epoch files hold the plan's digest; 3: what `--batch auto` measured
_STORED_SCHEMA = pa.schema([*RECORD_SCHEMA, ("shard", pa.int32()), ("position", pa.int32())])


RUN_PLAN_FILE = "plan.json"


class PlanOutputs(TypedDict):
    """The values that merge and evaluation need, as plan.json has them.

    Attributes:
        category_ids: JSON text of the id of each class.
        category_names: name of each class.
        positions: of each of the file's categories, the class index.
        categories: of the outputs, verbatim; None when there are none.
        has_truth: whether the annotation file holds ground truth.
        missing: JSON texts of the ids of images that were left out.
    """

    category_ids: list[str]
    category_names: list[str]
    positions: list[int]
    categories: list[dict[str, Any]] | None
    has_truth: bool
    missing: list[str]


class PlanDocument(TypedDict):
    """The JSON of plan.json, without its format."""

    records: str
    settings: dict[str, Any]
    outputs: PlanOutputs
    measured: MeasuredLaunches | None


@dataclass(frozen=True)
class RunPlan:
    """Everything that is fixed before a run's first image.

    Attributes:
        settings: everything that determines the outputs' bytes.
        outputs: values for merge and evaluation.
        records: table of RECORD_SCHEMA, in record order.
        shards: how the records are cut.
        measured: what the launch batch was chosen by; None where nobody asked for that.
    """

    settings: RunSettings
    outputs: PlanOutputs
    records: pa.Table
    shards: list[Shard]
    measured: MeasuredLaunches | None = None


def read_run_plan(path: str) -> tuple[RunPlan, str]:
    """Read the plan in a run folder; return it and its digest.

    Raises:
        UsageError: the folder holds no whole plan.
    """
    try:
        document, digest = read_plan_document(path)
        records, shards = _read_records(path, document["records"])
        settings = RunSettings.from_json(document["settings"])
    except OtherFormatError as error:
        raise UsageError(
            f"cannot resume from {path}",
            str(error),
            "finish it with the version of odtk-ray that began it, or remove the folder and start "
            "again without --resume",
        ) from error
    except (ValueError, pa.ArrowException) as error:
        raise unusable_run(path, f"its plan is damaged: {str(error)[:200]}") from error
    except OSError as error:
        # It may be a folder of anything: no advice to remove it.
        raise UsageError(
            f"cannot resume from {path}",
            f"it is not a run folder, or its plan cannot be read: {error.strerror or error}",
            "name the --run-dir of the run, or start a new run in another one",
        ) from error
    return RunPlan(settings, document["outputs"], records, shards, document["measured"]), digest


def read_plan_document(path: str) -> tuple[PlanDocument, str]:
    """Read the plan.json of a run folder; return it and its digest.

    Raises:
        OSError: it cannot be read.
        WrongJsonError: it is damaged, or of another format.
    """
    text = storage.read_bytes(storage.join(path, RUN_PLAN_FILE))
    return typed(typed_versioned(parse_json(text), _FORMAT), PlanDocument), sha256_of(text)


def read_shard_column(path: str, records: str) -> NDArray[np.int32]:
    """Read which shard each record of a plan is in, int32 [n], without the rest of the records.

    Args:
        path: of the run folder.
        records: their digest, as plan.json has it.

    Raises:
        OSError: they cannot be read.
        pyarrow.ArrowException: they are damaged.
    """
    data = pa.BufferReader(storage.read_bytes(storage.join(path, _records_name(records))))
    shards: NDArray[np.int32] = pq.read_table(data, columns=["shard"])["shard"].to_numpy()
    return shards


def _read_records(path: str, digest: str) -> tuple[pa.Table, list[Shard]]:
    """Read the records, and how they are cut; raise ValueError where they cannot be a plan's."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError("records is no digest")
    data = storage.read_bytes(storage.join(path, _records_name(digest)))
    if digest != sha256_of(data):
        raise ValueError("its records are others")
    table = pq.read_table(pa.BufferReader(data))
    if not table.schema.remove_metadata().equals(_STORED_SCHEMA):
        raise ValueError("its records have other columns")
    index, shard, position = (table[c].to_numpy() for c in ("index", "shard", "position"))
    rows = np.arange(len(table))
    if not np.array_equal(index, rows) or not (0 <= shard.min() <= shard.max() < len(table)):
        raise ValueError("its records are not in order")
    order, counts = np.lexsort((position, shard)), np.bincount(shard)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    if counts.min() == 0 or not np.array_equal(position[order], rows - first):
        raise ValueError("its shards are not whole")
    shards = [Shard(i, r) for i, r in enumerate(np.split(order, np.cumsum(counts)[:-1]))]
    return table.select(RECORD_SCHEMA.names), shards


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
        "measured": plan.measured and asdict(plan.measured),
    }
    return json.dumps(document, indent=1).encode()


def _records_name(digest: str) -> str:
    return f"plan-{digest[:16]}.parquet"  # two drivers that plan at once write two files


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
