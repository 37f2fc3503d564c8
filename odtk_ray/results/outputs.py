"""The files of a finished run: all of them appear at its end, or none does."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow.compute as pc

from odtk_ray.config import InferConfig
from odtk_ray.data.storage import sync_folder, write_atomic
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
        if os.path.isdir(path):
            raise UsageError(f"cannot write {path}", "it is a folder")
        _check_folder(os.path.dirname(os.path.abspath(path)), path)
    if len(set(map(os.path.abspath, config.outputs))) < len(config.outputs):
        raise UsageError("one output is named twice", ", ".join(config.outputs))
    run_parent = os.path.dirname(os.path.abspath(config.run_folder))
    _check_folder(run_parent, config.run_folder)
    if config.draw:
        _check_folder(os.path.dirname(os.path.abspath(config.draw)), config.draw)
        if _holds(config.run_folder, config.draw):
            raise UsageError(f"--draw {config.draw} lies in the run folder, which is removed")
    for path in config.outputs:
        if _holds(config.run_folder, path):
            raise UsageError(f"{path} lies in the run folder, which is removed")


def _holds(folder: str, path: str) -> bool:
    return os.path.abspath(path).startswith(os.path.abspath(folder) + os.sep)


def _check_folder(folder: str, path: str) -> None:
    if not os.path.isdir(folder):
        raise UsageError(f"cannot write {path}", f"there is no folder {folder}")
    probe = os.path.join(folder, f".odtk-ray.{os.getpid()}.tmp")
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY))
        os.unlink(probe)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}", f"{folder}: {error.strerror}", "choose a folder you may write"
        ) from error


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
    """Streams to temporary files that take their targets' places together at the end."""
    temporary = [f"{path}.{os.getpid()}.tmp" for path in paths]
    try:
        with contextlib.ExitStack() as stack:
            streams = [
                stack.enter_context(_open(t, p)) for t, p in zip(temporary, paths, strict=True)
            ]
            yield streams
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
        for source, target in zip(temporary, paths, strict=True):
            os.replace(source, target)
            sync_folder(os.path.dirname(os.path.abspath(target)))
    except OSError as error:
        raise _unwritten(error) from error
    finally:
        for path in temporary:
            with contextlib.suppress(OSError):
                os.unlink(path)


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
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return []
    try:
        write_atomic(path, "".join(lines).encode())
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
        write_atomic(path, (json.dumps(document, indent=2) + "\n").encode())
    except OSError as error:
        raise _unwritten(error) from error
    return [path]


def _beside(config: InferConfig, name: str) -> str:
    return os.path.join(os.path.dirname(config.outputs[0]), name)
