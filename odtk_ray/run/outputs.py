"""The output files of a run: all of them appear at its end, or none does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import pyarrow.compute as pc

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.evaluation.score_run import Scores
from odtk_ray.nearest import did_you_mean
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.run.output_formats import FORMATS, OutputContext, make_writer
from odtk_ray.shards.merge import merge_shards
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage import FileDraft
from odtk_ray.storage.retry import with_retries
from odtk_ray.storage.writable import check_file, check_writable


def check_outputs(config: InferConfig) -> None:
    """Check that everything the run is to write can be written, before any work is done.

    Raises:
        UsageError: otherwise.
    """
    for path in config.output:
        if not path.endswith(FORMATS):
            raise UsageError(
                f"unknown output format: {os.path.basename(path)}",
                f"the name must end in one of {', '.join(FORMATS)}",
                did_you_mean(os.path.splitext(path)[1], FORMATS),
            )
        check_file(path)
    if len(set(map(storage.absolute, config.output))) < len(config.output):
        raise UsageError("an output is named twice", ", ".join(config.output))
    check_writable(config.run_folder)
    for other in filter(None, (config.draw, config.trace)):
        check_writable(other)
    if config.draw and _holds(config.run_folder, config.draw):
        raise UsageError(
            f"--draw {config.draw} lies in the run folder, which is deleted at the end"
        )
    for path in config.output:
        if _holds(config.run_folder, path):
            raise UsageError(f"{path} lies in the run folder, which is deleted at the end")


def _holds(folder: str, path: str) -> bool:
    return storage.absolute(path).startswith(storage.absolute(folder) + "/")


class Outputs:
    """The output files of a run, written by a thread while its shards are committed.

    A context manager: at its end the thread stops, and unpublished files are deleted. Until then
    they lie beside the targets, or in the folder for temporary files if a target is on an object
    store.
    """

    def __init__(self, config: InferConfig, run: RunFolder) -> None:
        self._run = run
        self._targets = [storage.absolute(path) for path in config.output]
        self._changed = threading.Condition()
        self._complete = self._stopped = False
        self._remove_earlier_drafts()
        self._drafts = [FileDraft(target, self._tag(run.epoch)) for target in self._targets]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="merge")
        self._written = self._thread.submit(self._write)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(stopped=True)
        self._thread.shutdown()
        self._discard()

    def commit(self, *receipts: Receipt) -> None:
        """Commit shards to the run, and write what can be written with them.

        Raises:
            OdtkError: as `RunFolder.commit`.
        """
        self._run.commit(*receipts)
        self._tell()

    def publish(self) -> None:
        """Move the files to their targets together; all shards must be committed.

        Raises:
            OdtkError: a shard is missing, or a file cannot be written, for example because the disk
                is full; the run folder stays.
        """
        self._tell(complete=True)
        try:
            self._written.result()
            for draft in self._drafts:
                _publish(draft)
        except OSError as error:
            raise _unwritten(error) from error

    def _tell(self, *, complete: bool = False, stopped: bool = False) -> None:
        with self._changed:
            self._complete |= complete
            self._stopped |= stopped
            self._changed.notify_all()

    def _receipt(self, shard: int) -> Receipt | None:
        """Wait for a shard; return None if it will not come any more."""
        with self._changed:
            self._changed.wait_for(
                lambda: shard in self._run.committed or self._complete or self._stopped
            )
        return None if self._stopped else self._run.committed.get(shard)

    def _write(self) -> None:
        """Write records in order as their shards are committed: the work of the thread."""
        try:
            self._write_drafts()
        except BaseException:
            self._discard()  # shards may need the disk space
            raise

    def _write_drafts(self) -> None:
        run = self._run
        outputs = run.plan.outputs
        context = OutputContext(
            outputs["category_ids"],
            outputs["category_names"],
            outputs["categories"],
            integer_ids=not pc.any(pc.starts_with(run.plan.records["image_id"], '"')).as_py(),
            rotated=run.plan.settings.rotated,
        )
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(_open(draft)) for draft in self._drafts]
            writers = [
                make_writer(t, s, context) for t, s in zip(self._targets, streams, strict=True)
            ]
            for writer in writers:
                stack.callback(writer.give_up)
            for rows in merge_shards(run, self._receipt):
                for writer in writers:
                    writer.write(rows)
            for writer in writers:
                writer.close(_entries(run))
        for draft in self._drafts:
            draft.sync()

    def _tag(self, epoch: int) -> str:
        """Return a tag for the names of temporary files; a later driver can compute it too."""
        return f"{hashlib.sha256(self._run.path.encode()).hexdigest()[:8]}-{epoch}"

    def _discard(self) -> None:
        for draft in self._drafts:
            draft.discard()

    def _remove_earlier_drafts(self) -> None:
        """Delete the unpublished files of earlier drivers that were killed."""
        for epoch in range(1, self._run.epoch + 1):
            for target in self._targets:
                storage.discard_part(target, self._tag(epoch))


def write_outputs(config: InferConfig, run: RunFolder) -> None:
    """Merge a finished run into its output files.

    Raises:
        OdtkError: as `Outputs.publish`.
    """
    with Outputs(config, run) as outputs:
        outputs.publish()


def _entries(run: RunFolder) -> Iterator[str]:
    for batch in run.plan.records.select(["entry"]).to_batches(max_chunksize=4096):
        yield from batch["entry"].to_pylist()


def _publish(draft: FileDraft) -> None:
    if storage.is_uri(draft.path):
        with_retries(draft.publish)
    else:
        draft.publish()


def _open(draft: FileDraft) -> IO[Any]:
    if draft.path.endswith(".parquet"):
        return open(draft.part, "wb")
    return open(draft.part, "w", encoding="utf-8", newline="")


def _unwritten(error: OSError) -> OdtkError:
    return OdtkError(
        "cannot write the outputs",
        str(error.strerror or error),
        "the detections are kept: make room and continue with --resume",
    )


def write_failures(config: InferConfig, run: RunFolder, reporter: Reporter) -> list[str]:
    """Write `failures.jsonl` beside the first output: one line per failed image.

    Without failures there is no such file, and one of an earlier run is removed.

    Args:
        config: names the first output.
        run: with all its shards.
        reporter: warned of the first failure.

    Returns:
        the file's name, as the outputs were given, if there is one.
    """
    path = _beside(config, "failures.jsonl")
    failures: list[dict[str, Any]] = []
    if run.images_failed:
        for rows in merge_shards(run):
            failed = pc.is_valid(rows.results["error"])
            records = rows.records.filter(failed).select(["image_id", "file_name", "path"])
            errors = rows.results["error"].filter(failed).to_pylist()
            for record, error in zip(records.to_pylist(), errors, strict=True):
                record["image_id"] = json.loads(record["image_id"])
                failures.append(record | {"error": error})
    if not failures:
        with_retries(lambda: storage.remove(path))
        return []
    text = "".join(json.dumps(failure) + "\n" for failure in failures)
    try:
        with_retries(lambda: storage.write_atomic(path, text.encode()))
    except OSError as error:
        raise _unwritten(error) from error
    first = failures[0]
    reporter.warn(
        f"{counted(len(failures), 'image')} failed, first {first['file_name']}: {first['error']}"
    )
    return [_as_given(config, "failures.jsonl")]


def write_metrics(config: InferConfig, scores: Scores, run: RunFolder) -> list[str]:
    """Write `metrics.json` beside the first output."""
    path = _beside(config, "metrics.json")
    document = scores.to_json() | {
        "images_failed": run.images_failed,
        "images_missing": len(run.plan.outputs["missing"]),
        "images_left_out": run.images_failed + len(run.plan.outputs["missing"]),
    }
    try:
        text = json.dumps(document, indent=2) + "\n"
        with_retries(lambda: storage.write_atomic(path, text.encode()))
    except OSError as error:
        raise _unwritten(error) from error
    return [_as_given(config, "metrics.json")]


def _beside(config: InferConfig, name: str) -> str:
    return storage.join(os.path.dirname(storage.absolute(config.output[0])), name)


def _as_given(config: InferConfig, name: str) -> str:
    """Return the path of `_beside` as the user would write it: relative if the first output is."""
    return storage.join(os.path.dirname(config.output[0]), name)
