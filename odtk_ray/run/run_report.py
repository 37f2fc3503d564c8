"""The report of a run: its settings, hardware, failures and stages around the figures."""

from __future__ import annotations

import os
import time
from collections import Counter
from functools import partial

import numpy as np
import pyarrow.compute as pc

from odtk_ray.config import InferConfig
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.evaluation.score_run import Scores, file_categories
from odtk_ray.moments import Moment, noted_moments
from odtk_ray.reports.content import Content, Detector, Ints, Pictures, RunFacts
from odtk_ray.reports.evaluation_report import evaluation_report
from odtk_ray.reports.report_files import write_report
from odtk_ray.shards.merge import merge_shards
from odtk_ray.shards.run_folder import RunFolder

_FAILURES = 200  # that are listed


def write_run_report(
    config: InferConfig, run: RunFolder, scores: Scores, detection_seconds: float
) -> None:
    """Write the report of a run to `config.report`.

    Args:
        config: the user's settings.
        run: with all its shards.
        scores: of the run.
        detection_seconds: from the published plan to the last shard.

    Raises:
        OdtkError: it cannot be written.
    """
    records, settings = run.plan.records, run.plan.settings
    name = os.path.basename(config.model.rstrip("/"))
    paths = records["path"]
    content = Content(
        title=f"{name} on {os.path.basename(config.annotations or '')}",
        detectors=[Detector(name, "", scores.analysis, partial(_select, run))],
        truth=scores.truth,
        pictures=Pictures(
            names=records["file_name"].to_pylist(),
            sizes=np.stack([records[side].to_numpy() for side in ("height", "width")], axis=1),
            path=lambda image: str(paths[image].as_py()),
            prep=settings.preprocessing,
        ),
        facts=_facts(config, run, detection_seconds),
        remarks=[finding.text for finding in scores.findings]
        + [scores.crowded] * bool(scores.crowded),
        run=RunFacts(_failures(run), run.images_failed, _stages(detection_seconds)),
    )
    write_report(config.report or "", evaluation_report(content))


def _select(run: RunFolder, images: Ints) -> tuple[Ints, DetectionTable]:
    """Return the detections of some images, ascending, and their places among all of the run."""
    rows: list[Ints] = [np.empty(0, np.int64)]
    sides = 5 if run.plan.settings.rotated else 4
    parts = [DetectionTable(rows[0], rows[0], np.empty(0), np.empty((0, sides)))]
    before = 0
    for merged in merge_shards(run):
        owner = np.repeat(merged.results["index"].to_numpy(), np.diff(merged.offsets))
        here = np.flatnonzero(np.isin(owner, images))
        classes = file_categories(run, merged)[here].astype(np.int64)
        rows.append(before + here)
        parts.append(DetectionTable(owner[here], classes, merged.scores[here], merged.bbox[here]))
        before += len(owner)
    columns = ("image", "category", "score", "bbox")
    table = DetectionTable(
        *(np.concatenate([getattr(part, column) for part in parts]) for column in columns)
    )
    return np.concatenate(rows), table


def _facts(config: InferConfig, run: RunFolder, seconds: float) -> list[tuple[str, str]]:
    settings = run.plan.settings
    prep, post = settings.preprocessing, settings.postprocessing
    images: Counter[str] = Counter()
    for receipt in run.committed.values():
        images[receipt.engine] += receipt.rows
    scaled = (
        "to fit {}x{}".format(*prep.fit)
        if prep.fit
        else f"short side {prep.resize}, long side at most {prep.max_size}"
    )
    engines = [(f"Images on {engine}", f"{count:,}") for engine, count in images.most_common()]
    return [
        ("Model", config.model),
        ("SHA-256 of the model", settings.model[:16]),
        ("Annotations", config.annotations or ""),
        ("Images", settings.images),
        ("Network input", scaled),
        ("Tiles", f"{prep.tile}, overlap {prep.overlap}" if prep.tile else "none"),
        ("EXIF orientation", prep.exif),
        ("Threshold", f"{post.threshold:g}"),
        ("NMS", f"{post.nms:g}"),
        ("Detections of an image", f"{post.detections:,} at most"),
        ("Computed on", f"{settings.device}, {settings.launch_batch} images a launch"),
        ("Decoder", settings.decoder),
        *engines,
        *((package, version) for package, version in settings.versions.items()),
        ("Detection", f"{seconds:,.1f} s"),
    ]


def _failures(run: RunFolder) -> list[tuple[str, str]]:
    failures: list[tuple[str, str]] = []
    if run.images_failed:
        for rows in merge_shards(run):
            failed = pc.is_valid(rows.results["error"])
            names = rows.records["file_name"].filter(failed).to_pylist()
            errors = rows.results["error"].filter(failed).to_pylist()
            failures += zip(names, errors, strict=True)
            if len(failures) >= _FAILURES:
                break
    return failures[:_FAILURES]


def _stages(detection_seconds: float) -> list[tuple[str, float]]:
    """Return how long the stages of the run took, as the driver saw them."""
    noted = noted_moments()
    planned = noted[Moment.PLANNED]
    detected = planned + detection_seconds
    first = min(noted.get(Moment.COMMITTED, detected), detected)
    return [
        ("start, until the plan", planned - noted[Moment.BEGUN]),
        ("to the first shard", first - planned),
        ("the other shards", detected - first),
        ("outputs and figures", max(time.time() - detected, 0.0)),
    ]
