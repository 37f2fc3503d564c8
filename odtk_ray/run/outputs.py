"""The output files of a run: all of them appear at its end, or none does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pyarrow.compute as pc

from odtk_ray import storage
from odtk_ray.config import InferConfig, options_in_force
from odtk_ray.errors import OdtkError
from odtk_ray.evaluation.metrics_document import metrics_document
from odtk_ray.evaluation.score_run import Scores
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.run.output_columns import are_integers
from odtk_ray.run.output_formats import make_writer
from odtk_ray.run.output_writer import OutputContext, Writer
from odtk_ray.run.pace import Pace
from odtk_ray.run.run_files import failures_path, metrics_path
from odtk_ray.shards.merge import MergedRows, merge_shards
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage import FileDraft
from odtk_ray.storage.retry import with_retries

# Threads. One formats a million detections a second, which is more than eight H200s find.
_FORMATTERS = 2
# Detections that are formatted ahead, 400 bytes of text each and several times as much in columns.
_AHEAD = 100_000


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
            integer_ids=are_integers(run.plan.records["image_id"]),
            rotated=run.plan.settings.rotated,
        )
        with contextlib.ExitStack() as stack:
            writers = []
            for target, draft in zip(self._targets, self._drafts, strict=True):
                stream = stack.enter_context(open(draft.part, "wb"))
                writers.append(make_writer(target, stream, context))
                stack.callback(writers[-1].give_up)
            for add in _prepared(writers, merge_shards(run, self._receipt)):
                add()
            for writer in writers:
                writer.close()
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


def _prepared(
    writers: Sequence[Writer], merged: Iterable[MergedRows]
) -> Iterator[Callable[[], object]]:
    """Have threads format rows ahead; yield, in order, what adds them to the files."""
    with ThreadPoolExecutor(_FORMATTERS, thread_name_prefix="format") as threads:
        ahead: deque[tuple[int, list[Future[Callable[[], object]]]]] = deque()
        before = added = 0  # detections
        for rows in merged:
            futures = [threads.submit(writer.prepare, rows, before) for writer in writers]
            before += len(rows.scores)
            ahead.append((before, futures))
            while ahead and (len(ahead) > _FORMATTERS or before - added > _AHEAD):
                added, futures = ahead.popleft()
                yield from (future.result() for future in futures)
        yield from (future.result() for _, futures in ahead for future in futures)


def write_outputs(config: InferConfig, run: RunFolder) -> None:
    """Merge a finished run into its output files.

    Raises:
        OdtkError: as `Outputs.publish`.
    """
    with Outputs(config, run) as outputs:
        outputs.publish()


def _publish(draft: FileDraft) -> None:
    if storage.is_uri(draft.path):
        with_retries(draft.publish)
    else:
        draft.publish()


def _unwritten(error: OSError) -> OdtkError:
    return OdtkError(
        "cannot write the outputs",
        str(error.strerror or error),
        "the detections are kept: make room and continue with --resume",
    )


def write_failures(config: InferConfig, run: RunFolder, reporter: Reporter) -> list[str]:
    """Write `NAME.failures.jsonl` beside the first output `NAME.json`: a line per failed image.

    Without failures there is no such file, and that of an earlier run of this output is removed.

    Args:
        config: names the first output.
        run: with all its shards.
        reporter: warned of the first failure.

    Returns:
        the file's name, as the outputs were given, if there is one.
    """
    path = storage.absolute(failures_path(config.output[0]))
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
    return [failures_path(config.output[0])]


def write_metrics(
    config: InferConfig, scores: Scores, run: RunFolder, pace: Pace | None
) -> list[str]:
    """Write `NAME.metrics.json` beside the first output `NAME.json`.

    Besides the figures it has what they were made with: the settings of the run's plan, the options
    in force, how fast the workers were, None for a run that had no image left to do, and what
    `--batch auto` measured.
    """
    path = storage.absolute(metrics_path(config.output[0]))
    document = metrics_document(scores.analysis) | {
        "images_failed": run.images_failed,
        "images_missing": len(run.plan.outputs["missing"]),
        "images_left_out": run.images_failed + len(run.plan.outputs["missing"]),
        "settings": run.plan.settings.to_json(),
        "options": options_in_force(config),
        "pace": pace and asdict(pace),
        "measured_launches": run.plan.measured and asdict(run.plan.measured),
    }
    try:
        text = json.dumps(document, indent=2) + "\n"
        with_retries(lambda: storage.write_atomic(path, text.encode()))
    except OSError as error:
        raise _unwritten(error) from error
    return [metrics_path(config.output[0])]
