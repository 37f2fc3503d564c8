"""Writes the pictures of a finished run: drawings with its detections, and crops of them."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from odtk_ray import storage
from odtk_ray.cluster.workers import Workers
from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.evaluation.score_run import read_run_truth
from odtk_ray.pictures.draw_shard import Outlines, PicturesWanted, draw_shard
from odtk_ray.pictures.drawn_names import drawn_names
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage.file_conflicts import real_path


def check_drawing(config: InferConfig, records: pa.Table) -> None:
    """Check that no drawn picture, and no crop, would replace an image that is read.

    Raises:
        UsageError: one would.
    """
    names, paths = (records[column].to_pylist() for column in ("file_name", "path"))
    if config.draw is not None:
        folder = real_path(config.draw)
        targets = {os.path.join(folder, name) for name in drawn_names(names)}
        for path in paths:
            if _real_path(path) in targets:
                raise UsageError(
                    f"--draw {config.draw} would replace {path}",
                    "drawn pictures keep the names of the originals",
                    "name another folder",
                )
    if config.crops is not None:
        folder = real_path(config.crops).rstrip("/") + "/"
        for path in paths:
            if _real_path(path).startswith(folder):
                raise UsageError(
                    f"--crops {config.crops} has an image of this run: {path}",
                    "crops could replace it",
                    "name another folder",
                )


def _real_path(path: str) -> str:
    """Return the one name of a file; a line of a list that can be no path stays as it is."""
    try:
        return real_path(path)
    except (UsageError, ValueError):
        return path


def draw_run(
    config: InferConfig, run: RunFolder, workers: Workers, reporter: Reporter
) -> list[str]:
    """Write what `--draw` and `--crops` ask for; warn of pictures that cannot be written.

    Returns:
        what was written, in words.

    Raises:
        OdtkError: a file cannot be written.
    """
    names = list(run.plan.outputs["category_names"])
    settings = run.plan.settings
    wanted = PicturesWanted(
        config.draw and storage.absolute(config.draw),
        config.crops and storage.absolute(config.crops),
        names,
        config.draw_threshold,
        config.line_width,
        config.crop_margin,
        settings.preprocessing,
        settings.rotated,
    )
    columns = run.plan.records.select(["file_name", "path"])
    targets = drawn_names(columns["file_name"].to_pylist())
    columns = columns.append_column("drawn", pa.array(targets, pa.string()))
    truth = _truth(config, run, reporter)
    calls = []
    for shard in run.plan.shards:
        order = np.sort(shard.rows)
        outlines = [truth[i] for i in order.tolist()] if truth else []
        file = run.file(run.committed[shard.number])
        calls.append((file, columns.take(order), outlines, wanted))
    try:
        done = workers.map(draw_shard, calls)
    except OdtkError as error:
        raise OdtkError(
            f"cannot draw into {config.draw or config.crops}", error.sentence
        ) from error
    problems = [problem for shard in done for problem in shard.problems]
    if problems:
        reporter.warn(
            f"{counted(len(problems), 'picture')} could not be drawn, first {problems[0]}"
        )
    written = []
    if config.draw:
        written.append(f"{config.draw} ({counted(sum(s.drawn for s in done), 'picture')})")
    if config.crops:
        written.append(f"{config.crops} ({counted(sum(s.crops for s in done), 'crop')})")
    return written


def _truth(config: InferConfig, run: RunFolder, reporter: Reporter) -> list[Outlines]:
    """Return the annotated outlines of each image, in record order; [] if none are to be drawn."""
    if not config.draw_truth:
        return []
    found = read_run_truth(config, run)
    if found is None:
        reporter.warn(f"--draw-truth: {config.annotations} has no annotations to draw")
        return []
    truth, _ = found
    # Colours of classes; categories that the model does not know get those behind them.
    classes = {position: n for n, position in enumerate(run.plan.outputs["positions"])}
    outlines: list[Outlines] = [[] for _ in range(len(run.plan.records))]
    for row, (image, category) in enumerate(
        zip(truth.image.tolist(), truth.category.tolist(), strict=True)
    ):
        if truth.polygons is not None:
            rings = truth.polygons.rings(row)
        else:
            x, y, width, height = truth.bbox[row].tolist()
            right, bottom = x + width - 1, y + height - 1  # inclusive, as detections are drawn
            rings = [[x, y, x, bottom, right, bottom, right, y]]
        label = classes.get(category, len(classes) + category)
        outlines[image] += [(label, ring) for ring in rings]
    return outlines
