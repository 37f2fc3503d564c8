"""The run folder: the plan, the shard files, and the journal of what is committed.

    plan.json       settings and what the outputs need; its hash is the plan's digest
    plan-*.parquet  the records, with the shard of each; its name has its digest
    shards/         one Parquet file for each shard and attempt, written once, whole or not at all
    commits.jsonl   one line for each committed shard, appended and synced by the driver alone;
                    on an object store commits/, with an object for each time the driver committed
    epoch-NNNN      one file for each driver that worked here; the newest one owns the folder. It
                    holds a token that workers read to see that they are in the same folder

A shard counts only through its line in the journal, so files that a killed worker or driver left
behind are harmless. The folder may be a local path, shared or not, or the URI of an object store,
where files are written by one request and nothing is renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from odtk_ray import storage
from odtk_ray.config import Preprocessing
from odtk_ray.data.shards import Shard
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.records import PLAN_SCHEMA
from odtk_ray.results.journal import FileJournal, Journal, ObjectJournal
from odtk_ray.results.shardfile import SHARDS, Receipt
from odtk_ray.storage import object_stores, sync_folder, write_atomic
from odtk_ray.storage.retry import patiently

_FORMAT = 1
_PLAN = "plan.json"
# Shard files read at once when a run is resumed.
_READERS = 16


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
        self.path = storage.absolute(path)  # workers have a working directory of their own
        self.plan = plan
        self.digest = digest
        self.epoch = 0  # until `take_over`
        self.token = ""  # likewise
        self._journal: Journal = FileJournal(self.path)
        self.committed: dict[int, Receipt] = {}
        self.images_done = self.images_failed = 0  # in committed shards

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is a run folder, or a local path that cannot become one."""
        path = storage.absolute(path)
        # A folder of an object store is there as long as any object of it is.
        return storage.exists(storage.join(path, _PLAN) if storage.is_uri(path) else path)

    @classmethod
    def refuse_existing(cls, path: str) -> None:
        """See that a new run may use the folder.

        Raises:
            UsageError: there is something already.
        """
        if cls.exists(path):
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
        path = storage.absolute(path)
        cls.refuse_existing(path)
        document = _create_remote(path, plan) if storage.is_uri(path) else _create_local(path, plan)
        run = cls(path, plan, _sha256(document))
        run.take_over()
        return run

    @classmethod
    def reopen(cls, path: str) -> RunFolder:
        """Read the plan of an earlier run; nothing changes before `take_over`.

        Raises:
            UsageError: the folder holds no whole plan.
        """
        path = storage.absolute(path)
        try:
            text = storage.read_bytes(storage.join(path, _PLAN))
            document = json.loads(text)
            data = storage.read_bytes(storage.join(path, _records_name(document["records"])))
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
        return cls(path, plan, _sha256(text))

    def take_over(self) -> None:
        """Own the folder from now on, and take in what earlier drivers committed."""
        self.token = secrets.token_hex(16)
        self.epoch = _claim(self.path, self.token)
        if storage.is_uri(self.path):
            self._journal = ObjectJournal(self.path, self.digest, self.epoch)
        self._read_journal()

    @property
    def token_file(self) -> str:
        """The file that holds this driver's token."""
        return storage.join(self.path, _epoch_name(self.epoch))

    def check_owner(self) -> None:
        """See that no newer driver works here.

        Raises:
            OdtkError: one does.
        """
        newer = storage.join(self.path, _epoch_name(self.epoch + 1))
        if patiently(lambda: storage.exists(newer)):
            raise OdtkError(
                f"another run has taken over {self.path}",
                "it was started with --resume while this one was at work",
            )

    def file(self, receipt: Receipt) -> str:
        """Path of a committed shard's file."""
        return storage.join(self.path, f"{SHARDS}/{receipt.name}")

    def missing_shards(self) -> list[Shard]:
        """Shards that are not committed yet, in dispatch order."""
        return [shard for shard in self.plan.shards if shard.number not in self.committed]

    def commit(self, *receipts: Receipt) -> int:
        """Make shards count; returns how many, without those of which an earlier attempt does.

        Raises:
            OdtkError: another driver has taken the folder over, or a shard's rows are not those
                that were planned.
        """
        fresh = {r.shard: r for r in reversed(receipts) if r.shard not in self.committed}
        for receipt in fresh.values():
            if receipt.rows != len(self.plan.shards[receipt.shard]):
                raise OdtkError(
                    f"shard {receipt.shard} came back with {receipt.rows} images",
                    f"{len(self.plan.shards[receipt.shard])} were planned",
                )
        if fresh:
            self.check_owner()
            self._journal.append([json.dumps(asdict(receipt)) for receipt in fresh.values()])
        for receipt in fresh.values():
            self._count(receipt)
        return len(fresh)

    def remove(self) -> None:
        """Delete the folder after its outputs are published."""
        if storage.is_uri(self.path):
            object_stores.remove(storage.join(self.path, _PLAN))  # without it, it is no run folder
            object_stores.remove_tree(self.path)
            return
        doomed = f"{self.path}.{os.getpid()}.tmp"
        os.rename(self.path, doomed)  # so that a kill in between leaves no half run folder
        shutil.rmtree(doomed, ignore_errors=True)

    def _read_journal(self) -> None:
        """Take what the journal says as far as its files hold what was written.

        A torn last line, or a file that is missing or differs, is simply not committed.
        """
        receipts = []
        for line in self._journal.read():
            with contextlib.suppress(ValueError, TypeError):
                receipts.append(Receipt(**json.loads(line)))
        with ThreadPoolExecutor(_READERS) as pool:
            whole = list(pool.map(self._holds, receipts))
        for receipt, there in zip(receipts, whole, strict=True):
            if there and receipt.shard not in self.committed:
                self._count(receipt)

    def _count(self, receipt: Receipt) -> None:
        self.committed[receipt.shard] = receipt
        self.images_done += receipt.rows
        self.images_failed += receipt.failed

    def _holds(self, receipt: Receipt) -> bool:
        try:
            data = patiently(lambda: storage.read_bytes(self.file(receipt)))
        except OSError:
            return False
        return _sha256(data) == receipt.sha256


def _create_local(path: str, plan: Plan) -> bytes:
    """Make a folder that holds a whole plan or does not exist; returns plan.json."""
    temporary = f"{path}.{os.getpid()}.tmp"
    os.makedirs(temporary)
    try:
        os.mkdir(os.path.join(temporary, SHARDS))
        document = _write_records(temporary, plan)
        write_atomic(os.path.join(temporary, _PLAN), document)
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return document


def _create_remote(path: str, plan: Plan) -> bytes:
    """Write a plan to an object store, plan.json last and only if there is none; returns it."""
    document = _write_records(path, plan)
    if not object_stores.create(storage.join(path, _PLAN), document):
        RunFolder.refuse_existing(path)
    return document


def _write_records(path: str, plan: Plan) -> bytes:
    """Write the plan's records; returns what plan.json is to hold."""
    shard_of, position = np.empty((2, len(plan.records)), np.int32)
    for shard in plan.shards:
        shard_of[shard.rows] = shard.number
        position[shard.rows] = np.arange(len(shard), dtype=np.int32)
    table = plan.records.append_column("shard", pa.array(shard_of))
    table = table.append_column("position", pa.array(position))
    buffer = io.BytesIO()
    # Row groups bound what the writer holds: 1 million rows by default.
    pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 14)
    digest = _sha256(buffer.getvalue())
    write_atomic(storage.join(path, _records_name(digest)), buffer.getvalue())
    document = {
        "format": _FORMAT,
        "records": digest,
        "settings": plan.settings,
        "outputs": plan.outputs,
    }
    return json.dumps(document, indent=1).encode()


def _records_name(digest: str) -> str:
    return f"plan-{digest[:16]}.parquet"  # two drivers that plan at once write two files


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _epoch_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}"


def _claim(path: str, token: str) -> int:
    """Become the newest driver of a run folder; exactly one of several gets each number."""
    names = patiently(lambda: storage.list_files(path, recursive=False)).names
    taken = (int(n[6:]) for n in names if n.startswith("epoch-") and n[6:].isdigit())
    epoch = 1 + max(taken, default=0)
    while not _create(storage.join(path, _epoch_name(epoch)), token.encode()):
        epoch += 1
    return epoch


def _create(path: str, data: bytes) -> bool:
    """Write a file of the run folder unless it is there."""
    if storage.is_uri(path):
        return patiently(lambda: object_stores.create(path, data))
    try:
        with open(path, "xb") as stream:
            stream.write(data)
    except FileExistsError:
        return False
    sync_folder(os.path.dirname(path))
    return True
