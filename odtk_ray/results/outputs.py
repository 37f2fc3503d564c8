"""The files of a finished run: all of them appear at its end, or none does."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow.compute as pc

from odtk_ray.config import InferConfig
from odtk_ray.data import objects, storage
from odtk_ray.data.patience import patiently
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.results.merge import merged
from odtk_ray.results.scoring import Scores
from odtk_ray.results.store import RunFolder
from odtk_ray.results.writers import FORMATS, OutputContext, make_writer


def check_outputs(config: InferConfig) -> None:
    """See that everything the run is to write has a place, before any work is done.

    Raises:
        UsageError: otherwise.
    """
    for path in config.outputs:
        if not path.endswith(FORMATS):
            raise UsageError(
                f"unknown output format: {os.path.basename(path)}",
                f"the name must end in one of {', '.join(FORMATS)}",
            )
        if not storage.is_uri(path) and os.path.isdir(path):
            raise UsageError(f"cannot write {path}", "it is a folder")
        _check_place(path)
    if len(set(map(storage.absolute, config.outputs))) < len(config.outputs):
        raise UsageError("one output is named twice", ", ".join(config.outputs))
    _check_place(config.run_folder)
    for other in filter(None, (config.draw, config.trace)):
        _check_place(other)
    if config.draw and _holds(config.run_folder, config.draw):
        raise UsageError(f"--draw {config.draw} lies in the run folder, which is removed")
    for path in config.outputs:
        if _holds(config.run_folder, path):
            raise UsageError(f"{path} lies in the run folder, which is removed")


def _holds(folder: str, path: str) -> bool:
    return storage.absolute(path).startswith(storage.absolute(folder) + "/")


def _check_place(path: str) -> None:
    """See that something may be written beside `path`."""
    folder = os.path.dirname(storage.absolute(path))
    probe = storage.join(folder, f".odtk-ray.{os.getpid()}.tmp")
    if not storage.is_uri(path) and not os.path.isdir(folder):
        raise UsageError(f"cannot write {path}", f"there is no folder {folder}")
    try:
        if storage.is_uri(probe):
            objects.put(probe, b"")
            objects.remove(probe)
        else:
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY))
            os.unlink(probe)
    except OSError as error:
        why = f"{folder}: {error.strerror or error}"
        raise UsageError(f"cannot write {path}", why, "choose a folder you may write") from error
    except (ImportError, ValueError, NotImplementedError) as error:
        hint = "s3:// needs `pip install odtk-ray[s3]`, gs:// `odtk-ray[gcs]`, on every node"
        raise UsageError(f"cannot write {path}", str(error), hint) from error


def write_outputs(config: InferConfig, run: RunFolder) -> list[str]:
    """Merge the run into its output files; returns their paths.

    Raises:
        OdtkError: a file cannot be written, for want of room, for example; the run folder stays.
    """
    outputs = run.plan.outputs
    context = OutputContext(
        outputs["category_ids"],
        outputs["category_names"],
        outputs["categories"],
        integer_ids=not pc.any(pc.starts_with(run.plan.records["image_id"], '"')).as_py(),
        rotated=run.plan.settings["rotated"],
    )
    paths = config.outputs
    with _published(paths) as streams:
        writers = [make_writer(p, s, context) for p, s in zip(paths, streams, strict=True)]
        for rows in merged(run):
            for writer in writers:
                writer.write(rows)
        for writer in writers:
            writer.close(_entries(run))
    return list(paths)


def _entries(run: RunFolder) -> Iterator[str]:
    for batch in run.plan.records.select(["entry"]).to_batches(max_chunksize=4096):
        yield from batch["entry"].to_pylist()


@contextlib.contextmanager
def _published(paths: Sequence[str]) -> Iterator[list[IO[Any]]]:
    """Streams to temporary files that take their targets' places together at the end.

    Those of object stores lie in the local folder for temporary files until they are uploaded.
    """
    targets = [storage.absolute(path) for path in paths]
    spool = tempfile.mkdtemp(prefix="odtk-ray-") if any(map(storage.is_uri, targets)) else ""
    temporary = [
        os.path.join(spool, str(i)) if storage.is_uri(target) else f"{target}.{os.getpid()}.tmp"
        for i, target in enumerate(targets)
    ]
    try:
        with contextlib.ExitStack() as stack:
            streams = [
                stack.enter_context(_open(t, p)) for t, p in zip(temporary, targets, strict=True)
            ]
            yield streams
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
        for source, target in zip(temporary, targets, strict=True):
            _publish(source, target)
    except OSError as error:
        raise _unwritten(error) from error
    finally:
        for path in temporary:
            with contextlib.suppress(OSError):
                os.unlink(path)
        if spool:
            os.rmdir(spool)


def _publish(source: str, target: str) -> None:
    if storage.is_uri(target):
        patiently(lambda: objects.upload(source, target))
        return
    os.replace(source, target)
    storage.sync_folder(os.path.dirname(target))


def _open(temporary: str, path: str) -> IO[Any]:
    if path.endswith(".parquet"):
        return open(temporary, "wb")
    return open(temporary, "w", encoding="utf-8", newline="")


def _unwritten(error: OSError) -> OdtkError:
    return OdtkError(
        "cannot write the outputs",
        str(error.strerror or error),
        "nothing is lost: make room and run again with --resume",
    )


def write_failures(config: InferConfig, run: RunFolder) -> list[str]:
    """`failures.jsonl` beside the first output: one line for each failed image.

    Without failures there is no such file, and one of an earlier run is removed.
    """
    path = _beside(config, "failures.jsonl")
    lines = []
    if run.images_failed:
        for rows in merged(run):
            failed = pc.is_valid(rows.results["error"])
            records = rows.records.filter(failed).select(["image_id", "file_name", "path"])
            errors = rows.results["error"].filter(failed).to_pylist()
            for record, error in zip(records.to_pylist(), errors, strict=True):
                record["image_id"] = json.loads(record["image_id"])
                lines.append(json.dumps(record | {"error": error}) + "\n")
    if not lines:
        if storage.is_uri(path):
            patiently(lambda: objects.remove(path))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return []
    try:
        patiently(lambda: storage.write_atomic(path, "".join(lines).encode()))
    except OSError as error:
        raise _unwritten(error) from error
    return [path]


def write_metrics(config: InferConfig, scores: Scores, run: RunFolder) -> list[str]:
    """`metrics.json` beside the first output."""
    path = _beside(config, "metrics.json")
    document = scores.to_json() | {
        "images_failed": run.images_failed,
        "images_missing": len(run.plan.outputs["missing"]),
        "images_left_out": run.images_failed + len(run.plan.outputs["missing"]),
    }
    try:
        text = json.dumps(document, indent=2) + "\n"
        patiently(lambda: storage.write_atomic(path, text.encode()))
    except OSError as error:
        raise _unwritten(error) from error
    return [path]


def _beside(config: InferConfig, name: str) -> str:
    return storage.join(os.path.dirname(storage.absolute(config.outputs[0])), name)
