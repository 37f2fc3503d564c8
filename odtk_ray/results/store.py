"""The run folder: the plan, the shard files, and the journal of what is committed.

    plan.json       settings and what the outputs need; its hash is the plan's digest
    plan.parquet    the records, with the shard of each
    shards/         one Parquet file for each shard and attempt, written once, whole or not at all
    commits.jsonl   one line for each committed shard, appended and synced by the driver alone
    epoch-NNNN      one empty file for each driver that worked here; the newest one owns the folder

A shard counts only through its line in the journal, so files that a killed worker or driver left
behind are harmless.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from odtk_ray.config import Preprocessing
from odtk_ray.data.shards import Shard
from odtk_ray.data.storage import sync_folder, write_atomic
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.records import PLAN_SCHEMA
from odtk_ray.results.shardfile import SHARDS, Receipt

_FORMAT = 1
_PLAN, _RECORDS, _JOURNAL = "plan.json", "plan.parquet", "commits.jsonl"


@dataclass(frozen=True)
class Plan:
    """What a run does, fixed before its first image.

    Attributes:
        settings: everything that decides about the outputs' bytes, JSON values by name.
        outputs: what merge and evaluation need besides (categories, classes, left-out images).
        records: table of PLAN_SCHEMA, in record order.
        shards: how the records are cut.
    """

    settings: dict[str, Any]
    outputs: dict[str, Any]
    records: pa.Table
    shards: list[Shard]

    @property
    def prep(self) -> Preprocessing:
        """How pictures become network input."""
        stored = self.settings["preprocessing"]
        return Preprocessing(**stored | {"fit": stored["fit"] and tuple(stored["fit"])})


class RunFolder:
    """A run folder; a driver owns it from `take_over` until a newer driver does the same."""

    def __init__(self, path: str, plan: Plan, digest: str) -> None:
        self.path = os.path.abspath(path)  # workers have a working directory of their own
        self.plan = plan
        self.digest = digest
        self.epoch = 0  # until `take_over`
        self.committed: dict[int, Receipt] = {}
        self.images_done = self.images_failed = 0  # in committed shards

    @staticmethod
    def refuse_existing(path: str) -> None:
        """See that a new run may use the folder.

        Raises:
            UsageError: there is something already.
        """
        if os.path.lexists(path):
            raise UsageError(
                f"the run folder {path} exists",
                "an earlier run did not finish, or is still at work",
                "--resume continues it; or remove it, or choose another --run-dir",
            )

    @classmethod
    def create(cls, path: str, plan: Plan) -> RunFolder:
        """Make the folder and write the plan.

        Raises:
            UsageError: the folder exists.
            OSError: it cannot be written.
        """
        cls.refuse_existing(path)
        temporary = f"{path}.{os.getpid()}.tmp"
        os.makedirs(temporary)
        try:
            text = _write_plan(temporary, plan)
            os.rename(temporary, path)  # a run folder holds a whole plan or does not exist
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        run = cls(path, plan, _sha256(text.encode()))
        run.take_over()
        return run

    @classmethod
    def reopen(cls, path: str) -> RunFolder:
        """Read the plan of an earlier run; nothing changes before `take_over`.

        Raises:
            UsageError: the folder holds no whole plan.
        """
        try:
            with open(os.path.join(path, _PLAN), encoding="utf-8") as stream:
                text = stream.read()
            document = json.loads(text)
            with open(os.path.join(path, _RECORDS), "rb") as records:
                data = records.read()
            if document["format"] != _FORMAT or document["records"] != _sha256(data):
                raise ValueError("the plan and its records do not belong together")
            table = pq.read_table(pa.BufferReader(data))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"cannot resume from {path}",
                "it is no run folder, or it is damaged",
                "remove the folder and start again without --resume",
            ) from error
        order = np.lexsort((table["position"].to_numpy(), table["shard"].to_numpy()))
        counts = np.bincount(table["shard"].to_numpy())
        shards = [Shard(i, r) for i, r in enumerate(np.split(order, np.cumsum(counts)[:-1]))]
        plan = Plan(
            document["settings"], document["outputs"], table.select(PLAN_SCHEMA.names), shards
        )
        return cls(path, plan, _sha256(text.encode()))

    def take_over(self) -> None:
        """Own the folder from now on, and take in what earlier drivers committed."""
        self.epoch = _claim(self.path)
        self._read_journal()

    def check_owner(self) -> None:
        """See that no newer driver works here.

        Raises:
            OdtkError: one does.
        """
        if os.path.exists(os.path.join(self.path, _epoch_name(self.epoch + 1))):
            raise OdtkError(
                f"another run has taken over {self.path}",
                "it was started with --resume while this one was at work",
            )

    def file(self, receipt: Receipt) -> str:
        """Path of a committed shard's file."""
        return os.path.join(self.path, SHARDS, receipt.name)

    def missing_shards(self) -> list[Shard]:
        """Shards that are not committed yet, in dispatch order."""
        return [shard for shard in self.plan.shards if shard.number not in self.committed]

    def commit(self, receipt: Receipt) -> bool:
        """Make a shard count; False when an earlier attempt already does.

        Raises:
            OdtkError: another driver has taken the folder over, or the shard's rows are not those
                that were planned.
        """
        if receipt.shard in self.committed:
            return False
        if receipt.rows != len(self.plan.shards[receipt.shard]):
            raise OdtkError(
                f"shard {receipt.shard} came back with {receipt.rows} images",
                f"{len(self.plan.shards[receipt.shard])} were planned",
            )
        self.check_owner()
        with open(os.path.join(self.path, _JOURNAL), "a", encoding="utf-8") as journal:
            journal.write(json.dumps(asdict(receipt)) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._count(receipt)
        return True

    def remove(self) -> None:
        """Delete the folder after its outputs are published."""
        doomed = f"{self.path}.{os.getpid()}.tmp"
        os.rename(self.path, doomed)  # so that a kill in between leaves no half run folder
        shutil.rmtree(doomed, ignore_errors=True)

    def _read_journal(self) -> None:
        """Take what the journal says as far as its files hold what was written.

        A torn last line, or a file that is missing or differs, is simply not committed.
        """
        with (
            contextlib.suppress(FileNotFoundError),
            open(os.path.join(self.path, _JOURNAL), "rb+") as journal,
        ):
            whole = 0
            for line in journal:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    receipt = Receipt(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                if receipt.shard not in self.committed and self._holds(receipt):
                    self._count(receipt)
            journal.truncate(whole)

    def _count(self, receipt: Receipt) -> None:
        self.committed[receipt.shard] = receipt
        self.images_done += receipt.rows
        self.images_failed += receipt.failed

    def _holds(self, receipt: Receipt) -> bool:
        try:
            with open(self.file(receipt), "rb") as stream:
                return _sha256(stream.read()) == receipt.sha256
        except OSError:
            return False


def _write_plan(path: str, plan: Plan) -> str:
    """Write the plan into a new run folder; returns the text of plan.json."""
    os.mkdir(os.path.join(path, SHARDS))
    shard_of, position = np.empty((2, len(plan.records)), np.int32)
    for shard in plan.shards:
        shard_of[shard.rows] = shard.number
        position[shard.rows] = np.arange(len(shard), dtype=np.int32)
    table = plan.records.append_column("shard", pa.array(shard_of))
    table = table.append_column("position", pa.array(position))
    buffer = io.BytesIO()
    # Row groups bound what the writer holds: 1 million rows by default.
    pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 14)
    write_atomic(os.path.join(path, _RECORDS), buffer.getvalue())
    document = {
        "format": _FORMAT,
        "records": _sha256(buffer.getvalue()),
        "settings": plan.settings,
        "outputs": plan.outputs,
    }
    text = json.dumps(document, indent=1)
    write_atomic(os.path.join(path, _PLAN), text.encode())  # last: a folder with it is whole
    return text


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _epoch_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}"


def _claim(path: str) -> int:
    """Become the newest driver of a run folder; exactly one of several gets each number."""
    epoch = 1 + max(
        (int(n[6:]) for n in os.listdir(path) if n.startswith("epoch-") and n[6:].isdigit()),
        default=0,
    )
    while True:
        with contextlib.suppress(FileExistsError):
            name = os.path.join(path, _epoch_name(epoch))
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            sync_folder(path)
            return epoch
        epoch += 1
