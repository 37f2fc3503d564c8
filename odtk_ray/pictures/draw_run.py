"""Draws the pictures of a finished run with their detections."""

from __future__ import annotations

import errno
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from odtk_ray import storage
from odtk_ray.cluster.workers import Workers
from odtk_ray.config import InferConfig
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.errors import ImageError, OdtkError, UsageError
from odtk_ray.images.decode_image import decode_image
from odtk_ray.images.image_file import read_image_file
from odtk_ray.images.windows import open_windowed, read_reduced
from odtk_ray.pictures.draw_detections import draw_detections
from odtk_ray.pictures.drawn_names import KEPT_FORMATS, drawn_names
from odtk_ray.records import to_bbox
from odtk_ray.settings import Preprocessing
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage import write_atomic
from odtk_ray.storage.file_conflicts import real_path


def check_drawing(config: InferConfig, records: pa.Table) -> None:
    """Check that no drawn picture would replace an image that is read.

    Raises:
        UsageError: one would.
    """
    if config.draw is None:
        return
    folder = real_path(config.draw)
    names, paths = (records[column].to_pylist() for column in ("file_name", "path"))
    targets = {os.path.join(folder, name) for name in drawn_names(names)}
    for path in paths:
        if _real_path(path) in targets:
            raise UsageError(
                f"--draw {config.draw} would replace {path}",
                "drawn pictures keep the names of the originals",
                "name another folder",
            )


def _real_path(path: str) -> str:
    """Return the one name of a file; a line of a list that can be no path stays as it is."""
    try:
        return real_path(path)
    except (UsageError, ValueError):
        return path


def draw_run(config: InferConfig, run: RunFolder, workers: Workers) -> tuple[int, list[str]]:
    """Draw every image of a finished run into `--draw`.

    Returns:
        how many pictures were drawn, and for each that was not its name and why.

    Raises:
        OdtkError: a picture cannot be written.
    """
    folder = storage.absolute(config.draw or "")
    names = list(run.plan.outputs["category_names"])
    settings = run.plan.settings
    shown = (folder, names, config.draw_threshold, settings.preprocessing, settings.rotated)
    columns = run.plan.records.select(["file_name", "path"])
    targets = drawn_names(columns["file_name"].to_pylist())
    columns = columns.append_column("drawn", pa.array(targets, pa.string()))
    calls = []
    for shard in run.plan.shards:
        order = np.sort(shard.rows)
        records = columns.take(order)
        file = run.file(run.committed[shard.number])
        calls.append((file, records, *shown))
    try:
        counts, problems = zip(*workers.map(draw_shard, calls), strict=True)
    except (OdtkError, OSError) as error:
        why = error.cause if isinstance(error, OdtkError) else str(error)
        raise OdtkError(f"cannot draw into {folder}", why) from error
    return sum(counts), [problem for some in problems for problem in some]


def draw_shard(
    file: str,
    records: pa.Table,
    folder: str,
    names: list[str],
    threshold: float,
    prep: Preprocessing,
    rotated: bool,
) -> tuple[int, list[str]]:
    """Draw the images of one shard; those beyond `max_pixels`, read by windows, become smaller.

    Args:
        file: the shard's Parquet file.
        records: `file_name`, `path` and name as `drawn` of its images, in the file's order.
        folder: where the pictures go.
        names: name of each class.
        threshold: lowest score that is drawn.
        prep: how the images are decoded.
        rotated: whether the boxes are rotated.

    Returns:
        how many were drawn, and for each that was not its name and why.
    """
    drawn, problems = 0, []
    results = pq.read_table(pa.BufferReader(storage.read_bytes(file))).to_pylist()
    for record, result in zip(records.to_pylist(), results, strict=True):
        if result["error"] is not None:
            continue
        try:
            picture, factor = _read(record["path"], prep)
        except (ImageError, OSError) as error:  # it was there a moment ago; its detections stay
            problems.append(f"{record['file_name']}: {error}")
            continue
        scores = np.array(result["scores"], np.float32)
        shown = scores >= threshold
        boxes = np.array(result["boxes"], np.float32).reshape(len(scores), 6 if rotated else 4)
        boxes = boxes[shown]
        outlines = corners(to_bbox(boxes)) if rotated else None
        if outlines is not None:
            boxes = np.hstack([outlines.min(axis=1), outlines.max(axis=1)])
        picture = draw_detections(
            picture,
            boxes / factor,
            scores[shown],
            names,
            np.array(result["classes"], np.int32)[shown],
            None if outlines is None else outlines / factor,
        )
        try:
            _save(picture, os.path.join(folder, record["drawn"]))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # the folder's own path is long
                raise
            problems.append(f"{record['file_name']}: its name is too long for {folder}")
            continue
        drawn += 1
    return drawn, problems


def _read(path: str, prep: Preprocessing) -> tuple[Image.Image, int]:
    """Read an image as it was detected in; return it and the factor by which it is reduced."""
    if prep.tile is None:
        content = read_image_file(path, prep)
        pixels = decode_image(content, prep) if isinstance(content, bytes) else content.pixels
        return Image.fromarray(pixels), 1
    return read_reduced(open_windowed(path, prep), prep.max_pixels)


def _save(picture: Image.Image, path: str) -> None:
    if not storage.is_uri(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    kind = KEPT_FORMATS[os.path.splitext(path)[1].lower()]
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
    write_atomic(path, buffer.getvalue())
