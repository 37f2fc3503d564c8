"""Provides the ranges of an INT8 export: from a matching table, or from a calibration."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from odtk_ray import __version__, storage
from odtk_ray.cluster.failures import task_error
from odtk_ray.cluster.session import choose_fleet, session
from odtk_ray.config import ExportConfig
from odtk_ray.errors import UsageError
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.int8.calibration import Sample, collect, collect_share, draw_sample
from odtk_ray.exports.int8.calibration_table import (
    CalibrationTable,
    check_replaceable,
    check_table,
    read_table,
)
from odtk_ray.exports.int8.histograms import Histogram
from odtk_ray.exports.int8.quantization import exclude, quantization_points
from odtk_ray.exports.traced_network import NetworkGraph
from odtk_ray.plural import counted
from odtk_ray.storage.writable import check_file

if TYPE_CHECKING:
    from odtk_ray.reporter import Reporter


def check_int8(config: ExportConfig) -> None:
    """Check that INT8 has images or a table to calibrate from, and can write the table.

    Raises:
        UsageError: neither images nor a table that exists, or the table cannot be written.
    """
    table = config.calibration_table
    if config.calibration_images is None and (table is None or config.recalibrate):
        raise UsageError(
            "--int8 needs --calibration-images, or the --calibration-table of an earlier export"
        )
    if config.calibration_images is None and table is not None and not storage.exists(table):
        raise UsageError(
            f"there is no calibration table {table}", hint="--calibration-images creates it"
        )
    if table is not None and (config.recalibrate or not storage.exists(table)):
        check_file(table)  # a table that is only read may lie in a read-only folder
        check_replaceable(table)


def int8_ranges(
    config: ExportConfig, sha256: str, network: NetworkGraph, lists: ImageLists, reporter: Reporter
) -> tuple[CalibrationTable, bool]:
    """Return the table to quantise with, and whether it is new.

    Args:
        config: names the checkpoint, images and table.
        sha256: of the checkpoint.
        network: the checkpoint's; without workers it is what runs.
        lists: of images.
        reporter: receives progress, and warnings about images that cannot be decoded.

    Raises:
        UsageError: the table is not for this export, or there are too few images.
    """
    points = quantization_points(network)
    exclude(network, points, config.int8_exclude)  # reports a wrong pattern at once
    keys = [point.key for point in points]
    sample = None
    if config.calibration_images is not None:
        count = (config.calibration_batches or 10) * _batch_size(config)
        sample = draw_sample(
            config.calibration_images, count, config.input_size, config.seed, lists
        )
        if bad := sample.unreadable:
            reporter.warn(f"{counted(bad, 'calibration image')} cannot be decoded: skipped")
    method = config.calibration_method or "entropy"
    path = config.calibration_table
    if path is not None and storage.exists(path) and not config.recalibrate:
        table = read_table(path)
        asked = sample is not None or config.calibration_method is not None
        check_table(
            path,
            table,
            model=sha256,
            size=config.input_size,
            keys=keys,
            method=method if asked else None,
            images=sample.hashes if sample else None,
        )
        reporter.note(f"using the ranges of {path} ({table.method}, {len(table.images)} images)")
        return table, False
    if sample is None:
        raise ValueError("check_int8 comes first")
    reporter.note(f"calibrating on {len(sample.paths)} images")
    histograms = _calibrate(config, sha256, network, sample)
    return CalibrationTable(
        method=method,
        model=sha256,
        size=config.input_size,
        images=tuple(sample.hashes),
        names=tuple(map(os.path.basename, sample.paths)),
        amax={key: histograms[key].amax(method) for key in keys},
        version=__version__,
    ), True


def _batch_size(config: ExportConfig) -> int:
    return config.calibration_batch_size or 2


def _calibrate(
    config: ExportConfig, sha256: str, network: NetworkGraph, sample: Sample
) -> dict[str, Histogram]:
    side = _batch_size(config)
    batches = [sample.paths[i : i + side] for i in range(0, len(sample.paths), side)]
    asked = config.workers is not None or config.address is not None
    if not (asked or "RAY_ADDRESS" in os.environ or _has_ray()):
        return collect(network, config.input_size, batches, "cuda" if _has_gpu() else "cpu")
    import ray

    # Workers have a working directory of their own.
    model = (storage.absolute(config.model), config.anchors, sha256, config.input_size)
    with session(config.address, config.workers or 1) as local:
        fleet = choose_fleet(config.workers, None, local=local)
        options: dict[str, Any] = {"num_cpus": fleet.threads}
        if fleet.gpus:
            options = {"num_gpus": 1, "num_cpus": 0}
        task: Any = ray.remote(**options)(collect_share)
        shares = [batches[i :: fleet.workers] for i in range(fleet.workers)]
        device = "cuda" if fleet.gpus else "cpu"
        try:
            parts = ray.get([task.remote(*model, share, device) for share in shares if share])
        except ray.exceptions.RayError as error:
            raise task_error(error) from error
    return {key: sum((part[key] for part in parts), Histogram.empty()) for key in parts[0]}


def _has_ray() -> bool:
    """Return whether this process is connected to Ray, which is not imported for that."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
