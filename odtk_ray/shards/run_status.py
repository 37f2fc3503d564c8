"""How far a run is, read from its folder by anybody who sees it: nothing is written or claimed.

Its journal is believed: whether the shard files are whole is what `--resume` finds out.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.shards.epoch_files import next_epoch
from odtk_ray.shards.image_stamps import read_stamps
from odtk_ray.shards.journal import COMMITS, open_journal
from odtk_ray.shards.run_events import EventKind, RunEvent, read_events
from odtk_ray.shards.run_plan import RUN_PLAN_FILE, read_plan_document, read_shard_column
from odtk_ray.shards.shard_file import Receipt, read_receipts

RunState = Literal["running", "stopped", "finished"]

# Seconds before the last commit over which the speed is taken.
_LATELY = 300.0
# Characters that Ray's lists, labels of metrics and file names all take.
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes:
        run: its name in Ray's lists and metrics.
        state: `running` also where the driver was killed: then `last_sign` stays what it was.
        images: planned.
        done: of them, in committed shards.
        failed: of those done.
        detections: in committed shards.
        shards: planned.
        shards_done: committed.
        drivers: how many have worked on it.
        rate: images a second that the newest driver committed lately; None if that is not known.
        seconds_left: at that rate; None where the run does not go on, or the rate is not known.
        last_sign: of life, in seconds since 1970, by the driver's clock; None if there is none.
        events: oldest first.
    """

    run: str
    state: RunState
    images: int
    done: int
    failed: int
    detections: int
    shards: int
    shards_done: int
    drivers: int
    rate: float | None
    seconds_left: float | None
    last_sign: float | None
    events: list[RunEvent] = field(default_factory=list)


def run_name(run_folder: str) -> str:
    """Return a run's name in Ray's lists and metrics: that of its folder, and a hash of its path.

    Args:
        run_folder: path or URI.
    """
    path = storage.absolute(run_folder).rstrip("/")
    stem = os.path.basename(path).removesuffix(".run")
    digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()
    return f"{_ODD.sub('_', stem)[:40]}-{digest[:6]}"


def read_status(run_folder: str) -> RunStatus:
    """Read how far a run is.

    Args:
        run_folder: path or URI.

    Raises:
        UsageError: it is no run folder, or is damaged.
        OdtkError: it cannot be read now.
    """
    path = storage.absolute(run_folder)
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{run_folder} is no run folder",
            f"it has no {RUN_PLAN_FILE}, which a run writes when it is planned",
            _other_folder(run_folder),
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise OdtkError(f"cannot read {run_folder}", why, "try again") from error
    except (ValueError, pa.ArrowException) as error:
        raise UsageError(f"cannot read the run in {run_folder}", str(error)[:200]) from error


def _other_folder(path: str) -> str:
    """Return a hint where the run folder may be."""
    beside = f"{path}.run"
    if storage.exists(storage.join(beside, RUN_PLAN_FILE)):
        return f"{path} is an output; its run folder is {beside}"
    return "a run that finished has removed its folder, unless it had --keep-run"


def _read(path: str) -> RunStatus:
    document, digest = read_plan_document(path)
    shard_of = read_shard_column(path, document["records"])
    driver = next_epoch(path) - 1
    committed = _committed(path, digest, shard_of)
    receipts = [receipt for _, receipt in committed]
    events = read_events(path, digest)
    done = sum(receipt.rows for receipt in receipts)
    rate = _rate([r for epoch, r in committed if epoch == driver and not r.taken_over])
    state = _state([event.kind for event in events if event.epoch == driver])
    signs = [*(receipt.committed_at for receipt in receipts), *(event.at for event in events)]
    return RunStatus(
        run=run_name(path),
        state=state,
        images=len(shard_of),
        done=done,
        failed=sum(receipt.failed for receipt in receipts),
        detections=sum(receipt.detections for receipt in receipts),
        shards=int(shard_of.max()) + 1,
        shards_done=len(receipts),
        drivers=driver,
        rate=rate,
        seconds_left=(len(shard_of) - done) / rate if rate and state == "running" else None,
        last_sign=max(signs, default=None),
        events=events,
    )


def _committed(path: str, digest: str, shard_of: NDArray[np.int32]) -> list[tuple[int, Receipt]]:
    """Return the receipts that count, one a shard, with the epoch of each."""
    images = np.bincount(shard_of).tolist()
    stamps = read_stamps(path, len(shard_of))
    since = np.zeros(len(images), np.int64)
    if stamps is not None:
        np.maximum.at(since, shard_of, stamps.since)
    lines = open_journal(path, COMMITS, digest).read()
    found: dict[int, tuple[int, Receipt]] = {}
    for epoch, receipt in read_receipts(lines, images, lambda shard: int(since[shard])):
        found.setdefault(receipt.shard, (epoch, receipt))
    return list(found.values())


def _state(kinds: Sequence[EventKind]) -> RunState:
    """Return the state that the newest driver's events show."""
    if "finished" in kinds:
        return "finished"
    return "stopped" if "stopped" in kinds else "running"


def _rate(receipts: Sequence[Receipt]) -> float | None:
    """Return images a second over the last minutes of commits; the first starts the clock."""
    if not receipts:
        return None
    times = np.array([receipt.committed_at for receipt in receipts])
    rows = np.array([receipt.rows for receipt in receipts])
    begin = times[times >= times.max() - _LATELY].min()
    seconds = float(times.max() - begin)
    return float(rows[times > begin].sum()) / seconds if seconds else None
