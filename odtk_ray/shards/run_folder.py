"""The run folder: the run plan, the shard files, and the journal of committed shards.

    plan.json, plan-*.parquet
                    the plan; see `run_plan`
    shards/         one Parquet file for each shard and attempt, written once, whole or not at all
    commits.jsonl   one line for each committed shard, appended and synced by the driver alone;
                    on an object store commits/, with an object for each time the driver committed;
                    see `journal`
    events.jsonl    what the drivers said, likewise; see `run_events`
    stamps.parquet  what the listing said of the images, if they came from a folder; see
                    `image_stamps`
    epoch-NNNN      one file for each driver that worked here; the newest one owns the folder; see
                    `epoch_files`

A shard counts only through its line in the journal, so files that a killed worker or driver left
behind are harmless. Plan, epoch files, journal and shard files name each other, by digest, number
and name: a folder of which one was edited, or that was mixed from two, is not resumed.

The folder may be a local path, shared or not, or the URI of an object store, where files are
written by one request and nothing is renamed.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.plural import counted
from odtk_ray.records import RESULT_SCHEMA
from odtk_ray.shards.cut_shards import Shard
from odtk_ray.shards.epoch_files import (
    check_plan,
    claim,
    epoch_name,
    make_token,
    next_epoch,
    unusable_run,
)
from odtk_ray.shards.image_stamps import ImageStamps, read_stamps, write_stamps
from odtk_ray.shards.journal import COMMITS, Journal, open_journal
from odtk_ray.shards.run_plan import RUN_PLAN_FILE, RunPlan, read_run_plan, sha256_of, write_records
from odtk_ray.shards.shard_file import SHARDS, Receipt, read_receipts
from odtk_ray.storage import object_stores
from odtk_ray.storage.retry import with_retries
from odtk_ray.typed_json import WrongJsonError

# Shard files read at once when a run is resumed.
_READERS = 16


class RunFolder:
    """A run folder; a driver owns it from `take_over` until a newer driver does the same."""

    def __init__(
        self, path: str, plan: RunPlan, digest: str, stamps: ImageStamps | None = None
    ) -> None:
        self.path = storage.absolute(path)  # workers have a working directory of their own
        self.plan = plan
        self.digest = digest
        self.stamps = stamps  # None if the images come from no folder
        self._renewal: tuple[ImageStamps, NDArray[np.bool_]] | None = None
        self.epoch = 0  # until `take_over`
        self.token = ""  # likewise
        self._journal: Journal  # from `take_over` on
        self.committed: dict[int, Receipt] = {}
        self.images_done = self.images_failed = 0  # in committed shards

    @staticmethod
    def exists(path: str) -> bool:
        """Return whether there is a run folder, or a local path that cannot become one."""
        path = storage.absolute(path)
        # A folder of an object store is there as long as any object of it is.
        return storage.exists(storage.join(path, RUN_PLAN_FILE) if storage.is_uri(path) else path)

    @classmethod
    def refuse_existing(cls, path: str) -> None:
        """Check that a new run may use the folder.

        Raises:
            UsageError: there is already a run folder.
        """
        if cls.exists(path):
            raise UsageError(
                f"the run folder {path} exists",
                "an earlier run did not finish, is still running, or was kept",
                "continue it with --resume, take its results over with --update, remove it, or "
                "choose another --run-dir",
            )

    @classmethod
    def create(cls, path: str, plan: RunPlan, stamps: ImageStamps | None = None) -> RunFolder:
        """Make the folder and write the plan.

        Args:
            path: of the folder.
            plan: of the run.
            stamps: of its images, if they come from a folder.

        Raises:
            UsageError: the folder exists.
            OSError: it cannot be written.
        """
        path = storage.absolute(path)
        cls.refuse_existing(path)
        document = _create_remote(path, plan) if storage.is_uri(path) else _create_local(path, plan)
        if stamps is not None:  # an object store may have remains of a run that was removed in part
            stamps = stamps.counted_from(next_epoch(path))
            write_stamps(path, stamps)
        run = cls(path, plan, sha256_of(document), stamps)
        run.take_over()
        return run

    @classmethod
    def reopen(cls, path: str) -> RunFolder:
        """Read the plan of an earlier run; nothing changes before `take_over`.

        Raises:
            UsageError: the folder holds no whole plan, or one that its drivers did not work by.
        """
        path = storage.absolute(path)
        plan, digest = read_run_plan(path)
        check_plan(path, digest)
        return cls(path, plan, digest, read_stamps(path, len(plan.records)))

    def renew(self, stamps: ImageStamps, replaced: NDArray[np.bool_]) -> None:
        """Have the shards of replaced images run again, once the folder is taken over.

        Args:
            stamps: of the images as they are now.
            replaced: bool [n], which of them were replaced.
        """
        self._renewal = stamps, replaced

    def take_over(self) -> None:
        """Become the folder's owner, and read what earlier drivers committed.

        Raises:
            UsageError: the journal or a shard file is not of this plan.
        """
        self.token = make_token(self.digest)
        self.epoch = claim(self.path, self.token)
        self._journal = open_journal(self.path, COMMITS, self.digest, self.epoch)
        if self.stamps is not None and self._renewal is not None:
            self.stamps = self.stamps.renewed(*self._renewal, self.epoch)
            write_stamps(self.path, self.stamps)
        self._read_journal()

    def look(self) -> None:
        """Read what is committed without taking the folder over: nothing in it changes.

        Raises:
            UsageError: as `take_over`.
        """
        self._journal = open_journal(self.path, COMMITS, self.digest)
        self._read_journal()

    @property
    def token_file(self) -> str:
        """The file that holds this driver's token."""
        return storage.join(self.path, epoch_name(self.epoch))

    def check_owner(self) -> None:
        """Check that no newer driver has taken over the folder.

        Raises:
            OdtkError: a newer driver does.
        """
        newer = storage.join(self.path, epoch_name(self.epoch + 1))
        if with_retries(lambda: storage.exists(newer)):
            raise OdtkError(
                f"another run has taken over {self.path}",
                "it was started with --resume while this one was running",
            )

    def file(self, receipt: Receipt) -> str:
        """Return the path of a committed shard's file."""
        return storage.join(self.path, f"{SHARDS}/{receipt.name}")

    def missing_shards(self) -> list[Shard]:
        """Return the shards that are not committed yet, in dispatch order."""
        return [shard for shard in self.plan.shards if shard.number not in self.committed]

    def commit(self, *receipts: Receipt) -> int:
        """Commit shards; return how many, without shards that were committed before.

        Raises:
            OdtkError: another driver has taken the folder over, or a shard's rows are not those
                that were planned.
        """
        stamped = [replace(receipt, committed_at=time.time()) for receipt in reversed(receipts)]
        fresh = {r.shard: r for r in stamped if r.shard not in self.committed}
        for receipt in fresh.values():
            if receipt.rows != len(self.plan.shards[receipt.shard]):
                raise OdtkError(
                    f"shard {receipt.shard} came back with {counted(receipt.rows, 'image')}",
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
            object_stores.remove(
                storage.join(self.path, RUN_PLAN_FILE)
            )  # without it, it is no run folder
            object_stores.remove_tree(self.path)
            return
        storage.remove_folder(self.path)

    def _read_journal(self) -> None:
        """Read the committed shards, as far as their files hold what was written.

        A torn line, or a file that is missing or differs, is simply not committed, and neither is
        what was made before an image of the shard was replaced.
        """
        images = [len(shard) for shard in self.plan.shards]
        try:
            read = read_receipts(self._journal.read(), images, self._counts_from)
        except WrongJsonError as error:
            raise unusable_run(self.path, str(error)) from error
        receipts = [receipt for _, receipt in read]
        with ThreadPoolExecutor(_READERS) as pool:
            whole = list(pool.map(self._holds, receipts))
        for receipt, there in zip(receipts, whole, strict=True):
            if there and receipt.shard not in self.committed:
                self._count(receipt)

    def _counts_from(self, shard: int) -> int:
        """Return the first epoch whose results of a shard count."""
        return (
            0 if self.stamps is None else int(self.stamps.since[self.plan.shards[shard].rows].max())
        )

    def _count(self, receipt: Receipt) -> None:
        self.committed[receipt.shard] = receipt
        self.images_done += receipt.rows
        self.images_failed += receipt.failed

    def _holds(self, receipt: Receipt) -> bool:
        try:
            data = with_retries(lambda: storage.read_bytes(self.file(receipt)))
        except OSError:
            return False
        if sha256_of(data) != receipt.sha256:
            return False
        try:
            schema = pq.read_schema(pa.BufferReader(data))
        except (OSError, pa.ArrowException) as error:
            raise unusable_run(self.path, f"{receipt.name} is no shard file") from error
        about = schema.metadata or {}
        written_for = about.get(b"odtk.plan"), about.get(b"odtk.shard")
        wanted = self.digest.encode(), str(receipt.shard).encode()
        if written_for != wanted or not schema.remove_metadata().equals(RESULT_SCHEMA):
            raise unusable_run(self.path, f"{receipt.name} belongs to another run")
        return True


def _create_local(path: str, plan: RunPlan) -> bytes:
    """Make a folder that holds a whole plan or does not exist; return plan.json."""
    with storage.making_folder(path) as part:
        os.mkdir(os.path.join(part, SHARDS))
        document = write_records(part, plan)
        storage.write_atomic(os.path.join(part, RUN_PLAN_FILE), document)
    return document


def _create_remote(path: str, plan: RunPlan) -> bytes:
    """Write a plan to an object store, plan.json last and only if there is none; return it."""
    document = write_records(path, plan)
    if not storage.create(storage.join(path, RUN_PLAN_FILE), document):
        RunFolder.refuse_existing(path)
    return document
