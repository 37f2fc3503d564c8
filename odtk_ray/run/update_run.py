"""`--update`: what a run takes over from an earlier one, and whether it may."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.run.fingerprint import short
from odtk_ray.run.replaced_images import stamp_images
from odtk_ray.run.run_files import earlier_folder
from odtk_ray.settings import RunSettings
from odtk_ray.shards.cut_shards import Shard
from odtk_ray.shards.image_stamps import ImageStamps
from odtk_ray.shards.merge import failed_records
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.run_plan import RunPlan

_WHOLE_RUN = "leave --update out, and give --keep-run: all images run once more"

# What chooses the images, which an update is free to do.
_FREE = frozenset("annotations images recursive limit allow_missing".split())

_CALLED = {
    "preprocessing": "the network input",
    "postprocessing": "what is kept",
    "versions": "a version",
    "model": "the model",
    "launch_batch": "the images in a launch (--batch)",
    "threads": "--threads-per-worker",
    "class_limits": "--thresholds or --only-classes",
    "full_precision": "--full-precision",
    "fallback": "--fallback",
    "kernels": "whether the CUDA kernels run",
}


@dataclass(frozen=True)
class UpdateCounts:
    """How an update's images are to those of the earlier run.

    Attributes:
        reused: images whose result is taken over.
        new: images that the earlier run did not have.
        changed: images with another content since.
        failed: images that failed in the earlier run, which are tried again.
        gone: images that the earlier run had, and this one has not.
    """

    reused: int
    new: int
    changed: int
    failed: int
    gone: int

    def __str__(self) -> str:
        parts = [f"{self.new:,} new", f"{self.changed:,} changed", f"{self.reused:,} reused"]
        if self.failed:
            parts.append(f"{self.failed:,} tried again")
        return ", ".join([*parts, f"{self.gone:,} gone"])


@dataclass(frozen=True)
class Update:
    """What a run takes over from an earlier one.

    Attributes:
        earlier: the earlier run, which is finished; nothing in its folder changes.
        stamps: of the images as they are now.
        rows: int64 [n], for each record the earlier one whose result it takes over; -1 for none.
        counts: of the images.
    """

    earlier: RunFolder
    stamps: ImageStamps
    rows: NDArray[np.int64]
    counts: UpdateCounts

    @classmethod
    def of(cls, earlier: RunFolder, records: pa.Table, stamps: ImageStamps) -> Update:
        """Find the images of an earlier run that are the same now: by path, and by stamp.

        Args:
            earlier: a finished run that has stamps.
            records: table of RECORD_SCHEMA.
            stamps: of its images as they are now.
        """
        if earlier.stamps is None:
            raise ValueError("the earlier run has no stamps")
        before, now = (table["path"].combine_chunks() for table in (earlier.plan.records, records))
        rows = pc.fill_null(pc.index_in(now, before), -1).to_numpy().astype(np.int64)
        known = np.flatnonzero(rows >= 0)
        same = earlier.stamps.take(rows[known]).same(stamps.take(known))
        failed = same & np.isin(rows[known], failed_records(earlier))
        taken = known[same & ~failed]
        result = np.full(len(rows), -1, np.int64)
        result[taken] = rows[taken]
        counts = UpdateCounts(
            reused=len(taken),
            new=len(rows) - len(known),
            changed=int(np.count_nonzero(~same)),
            failed=int(np.count_nonzero(failed)),
            gone=len(before) - (pc.sum(pc.is_in(before, now)).as_py() or 0),
        )
        return cls(earlier, stamps, result, counts)

    def with_sizes(self, records: pa.Table) -> pa.Table:
        """Return the records with the sizes that the earlier run read, where they have none."""
        taken = self.rows >= 0
        for name in ("width", "height"):
            values = records[name].to_numpy().copy()
            missing = taken & (values <= 0)
            values[missing] = self.earlier.plan.records[name].to_numpy()[self.rows[missing]]
            place = records.schema.get_field_index(name)
            records = records.set_column(place, records.schema.field(name), pa.array(values))
        return records

    def takes_over(self, shard: Shard) -> bool:
        """Return whether the results of all images of a shard are known."""
        return bool((self.rows[shard.rows] >= 0).all())


def begin_update(config: InferConfig, records: pa.Table, reporter: Reporter) -> Update | None:
    """Find what a new run takes over; None where it updates in place, and is the first to do so.

    Args:
        config: with `update`.
        records: table of RECORD_SCHEMA.
        reporter: told how the images are to the earlier ones.

    Raises:
        UsageError: there is no finished run that can be updated, or the images cannot be listed.
    """
    if config.place.in_place and not any(map(storage.exists, (config.place.kept, *config.output))):
        reporter.note(f"there is no {config.update} to update yet: all images run")
        return None
    earlier = _open_earlier(config)
    if (stamps := stamp_images(config, records)) is None:
        raise UsageError(
            f"cannot update {config.update}",
            f"{config.images} cannot be listed, so that changed images are not known",
            "make it readable",
        )
    update = Update.of(earlier, records, stamps)
    reporter.note(f"updating {config.update}, of the images {update.counts}")
    return update


def resume_update(config: InferConfig, run: RunFolder) -> Update | None:
    """Find what a resumed run can still take over; None where the earlier run is not there."""
    if config.update is None or not RunFolder.exists(earlier_folder(config)):
        return None
    stamps = stamp_images(config, run.plan.records)  # of now: images may have been replaced
    if stamps is None:
        return None
    return Update.of(_open_earlier(config), run.plan.records, stamps)


def _open_earlier(config: InferConfig) -> RunFolder:
    what, folder = f"cannot update {config.update}", earlier_folder(config)
    if not RunFolder.exists(folder):
        raise UsageError(
            what,
            f"there is no run folder {folder}, which a run leaves with --keep-run",
            _WHOLE_RUN,
        )
    run = RunFolder.reopen(folder)
    run.look()
    if left := len(run.plan.records) - run.images_done:
        raise UsageError(
            what,
            f"the run in {folder} is not finished: {counted(left, 'image')} are missing",
            "finish it with --resume and without --update",
        )
    if run.stamps is None:
        raise UsageError(what, f"{folder} does not say what its images were", _WHOLE_RUN)
    if len(engines := sorted({receipt.engine for receipt in run.committed.values()})) > 1:
        why = f"its results are from {' and '.join(engines)}, which differ in the last bits"
        raise UsageError(what, why, "run all images, on GPUs of one kind")
    return run


def check_drafted(update: Update, config: InferConfig, settings: RunSettings) -> None:
    """Check that the settings which are known without workers are those of the earlier run.

    Raises:
        UsageError: one that results depend on differs; it is named.
    """
    _check(update, config, settings, [f.name for f in fields(settings) if f.default is MISSING])


def check_planned(update: Update, config: InferConfig, plan: RunPlan) -> None:
    """Check that a plan's settings give what was taken over the numbers that it has.

    Raises:
        UsageError: a setting that results depend on differs; it is named.
    """
    _check(update, config, plan.settings, [f.name for f in fields(plan.settings)])


def _check(update: Update, config: InferConfig, settings: RunSettings, names: list[str]) -> None:
    for name in names:
        before, now = getattr(update.earlier.plan.settings, name), getattr(settings, name)
        if before != now and name not in _FREE:
            raise UsageError(
                f"cannot update {config.update}: {_CALLED.get(name, name)} differs",
                f"its run had {short(before, now)}, this one has {short(now, before)}",
                "use the same, or leave --update out to run all images",
            )
