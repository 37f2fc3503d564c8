"""Measures models one after the other: what `odtk-ray bench` does."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from odtk_ray import __version__, storage
from odtk_ray.artifacts.engine_set import is_engine_set
from odtk_ray.artifacts.exported_model import ExportedModel, is_onnx
from odtk_ray.artifacts.input_size import check_size
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.bench.bench_pictures import write_pictures
from odtk_ray.bench.matrix_rate import matrix_rate
from odtk_ray.bench.measure import WARM_UP, Figures, measure
from odtk_ray.bench.onnx_flops import onnx_flops
from odtk_ray.config import BenchConfig, InferConfig
from odtk_ray.engines.local_gpus import list_gpus
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.model.open_model import Model, open_model
from odtk_ray.reporter import Reporter
from odtk_ray.settings import Device
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts, named
from odtk_ray.storage.writable import check_file
from odtk_ray.worker.fleet import physical_cores

FORMAT = 1
_SIZE = (800, 1280)  # pixels of a checkpoint's input, about what --resize 800 makes of photographs
_FILES = 16  # pictures on the disk, at least


@dataclass(frozen=True)
class BenchModel:
    """A model that will be measured.

    Attributes:
        path: as the user gave it.
        size: height and width of its input in pixels.
        precision: of its network here.
        flops: additions and multiplications of its convolutions for a picture; None if unknown.
    """

    path: str
    size: tuple[int, int]
    precision: str
    flops: int | None


@dataclass(frozen=True)
class BenchRow:
    """A model with one batch.

    Attributes:
        model: the model.
        batch: pictures at once that were asked for.
        figures: what was measured; None if it cannot run here.
        error: why it cannot.
        share: of the machine's matrix rate that the network reaches; of the whole launch where
            the network is not measured alone. None where FLOPs or rate are unknown, or where the
            rate is another device's.
    """

    model: BenchModel
    batch: int
    figures: Figures | None
    error: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Bench:
    """What was measured.

    Attributes:
        device: that computed.
        threads: CPU threads.
        matrix_rate: additions and multiplications in a second of a matrix product; None if it was
            not measured.
        launches: that were timed for each row.
        rows: in the order of models, then batches.
    """

    device: Device
    threads: int
    matrix_rate: float | None
    launches: int
    rows: list[BenchRow]

    def to_json(self) -> dict[str, Any]:
        """Return the document that `--output` writes."""
        about: dict[str, Any] = {"format": FORMAT, "odtk_ray": __version__}
        about |= asdict(self)
        about["warm_up_launches"] = WARM_UP
        return about


def bench_models(config: BenchConfig, reporter: Reporter) -> Bench:
    """Measure every model with every batch, in this process.

    Args:
        config: the user's settings.
        reporter: receives remarks, and what is being measured.

    Raises:
        UsageError: a model cannot be used, or contradicts a setting; nothing was measured.
        OdtkError: the file cannot be written; the figures are remarked before.
    """
    reads = [NamedFile("MODEL", path) for path in config.models]
    writes = named("--output", config.output)
    check_conflicts(reads, writes)
    for file in writes:
        check_file(file.path)
    device: Device = "gpu" if list_gpus() else "cpu"
    models = _models(config, device)
    rows = []
    for model in models:
        with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as folder:
            paths = write_pictures(folder, model.size, max(_FILES, *config.batch))
            for batch in config.batch:
                reporter.note(f"measuring {model.path}, batch {batch}")
                rows.append(_row(model, batch, config, paths, reporter))
    threads = physical_cores()
    rate = matrix_rate(
        device, threads
    )  # after the engines: what torch holds is no memory of theirs
    rows = [replace(row, share=_share(row, device, rate)) for row in rows]
    return Bench(device, threads, rate, config.launches, rows)


def write_bench(bench: Bench, path: str) -> None:
    """Write the figures as JSON.

    Raises:
        OdtkError: the file cannot be written.
    """
    text = json.dumps(bench.to_json(), indent=2) + "\n"
    try:
        storage.write_atomic(storage.absolute(path), text.encode())
    except OSError as error:
        raise OdtkError(f"cannot write {path}", error.strerror or str(error)) from error


def _models(config: BenchConfig, device: Device) -> list[BenchModel]:
    """Open all models before the first is measured: what cannot work is refused at once."""
    if config.size is not None:
        check_size("--size", *config.size)
    opened = [_open(path) for path in config.models]
    exported = [model.size for model in opened if isinstance(model, ExportedModel)]
    size = config.size or (exported[0] if exported else _SIZE)
    models = []
    for path, model in zip(config.models, opened, strict=True):
        if isinstance(model, ExportedModel):
            found, own = model.precision, model.size
        else:
            half = device == "gpu" and config.precision != "fp32"
            found, own = "fp16" if half else "fp32", size
        if config.size not in (None, own):
            raise UsageError(
                f"{path} was exported for {own[0]}x{own[1]}",
                "--size says another size",
                "leave --size out, or export the model again",
            )
        if config.precision not in (None, found):
            raise UsageError(
                f"{path} computes in {found.upper()} here, not in {config.precision.upper()}",
                "CPUs compute in FP32" if device == "cpu" else "",
                "leave --precision out, or export the model again",
            )
        models.append(BenchModel(path, own, found, _flops(path, model, own)))
    return models


def _open(path: str) -> Model:
    if is_engine_set(path):
        raise UsageError(f"{path} is a folder", "bench measures files", "give one of its plans")
    with model_file(path) as local:
        return open_model(InferConfig(path), local).model


def _flops(path: str, model: Model, size: tuple[int, int]) -> int | None:
    if not isinstance(model, ExportedModel):
        from odtk_ray.model.network_flops import network_flops

        return network_flops(model, size)
    if not is_onnx(path):
        return None
    with model_file(path) as local:
        return onnx_flops(local)


def _row(
    model: BenchModel,
    batch: int,
    config: BenchConfig,
    paths: Sequence[str],
    reporter: Reporter,
) -> BenchRow:
    exported = os.path.splitext(model.path)[1].lower() != ".pth"
    wanted = InferConfig(
        model.path,
        fit=None if exported else model.size,
        batch=batch,
        full_precision=not exported and model.precision == "fp32",
    )
    try:
        figures = measure(wanted, paths, config.launches, reporter)
    except OdtkError as error:  # the other rows are kept
        return BenchRow(model, batch, None, error.sentence)
    return BenchRow(model, batch, figures)


def _share(row: BenchRow, device: Device, rate: float | None) -> float | None:
    figures, flops = row.figures, row.model.flops
    if figures is None or flops is None or rate is None or figures.device != device:
        return None
    seconds = (figures.network_ms or figures.launch_ms) / 1e3
    return flops * figures.batch / seconds / rate
