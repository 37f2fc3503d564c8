"""Plans with raw outputs beside plans that end in detections: parse, build, speed, equality.

    python jobs/bench/biased.py model.pth --size 800 1280
    odtk-ray export model.pth raw.onnx --size 800 1280
    odtk-ray export model.pth operators.onnx --size 800 1280 --with-postprocess
    odtk-ray export model.pth plugin.onnx --size 800 1280 --with-postprocess --plugin
    python jobs/bench/ending_plans.py raw.onnx plugin.onnx
    python jobs/bench/ending_plans.py raw.onnx operators.onnx plugin.onnx --full-precision

ONNX's own operators compute in FP32, and plans of them are built in FP32 only.
The plugin is libodtk_plugin.so of cuda_ops/cpp; LD_LIBRARY_PATH names its folder. `parse` and
`build` are seconds. The other columns need a GPU: img/s of launches one after the other, network
and all that is behind it, input on the GPU (`plans.py`), and how many detections in noise are those
of the first file, in both directions. With --capability, TensorRT for RTX builds without a GPU.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import click
from measure import machine, table
from plans import Noise, make_engine, single

import odtk_ray
from odtk_ray.artifacts.exported_model import ExportedModel
from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.engines.launches import PinnedDetections
from odtk_ray.engines.local_gpus import list_gpus
from odtk_ray.engines.tensorrt import TensorRTEngine
from odtk_ray.engines.tensorrt_package import load_plugin, make_logger, start
from odtk_ray.errors import OdtkError
from odtk_ray.exports.check.compare_detections import match
from odtk_ray.exports.tensorrt.build_plan import builder_package
from odtk_ray.records import Detections
from odtk_ray.reporter import LogReporter


def parse_seconds(path: str, capability: tuple[str, ...]) -> float:
    """Measure how long TensorRT takes to read an ONNX file."""
    trt = builder_package(capability)
    with contextlib.suppress(OdtkError):  # a file without the plugin's node does not need it
        load_plugin(trt)
    messages: list[str] = []
    log = make_logger(trt, messages)
    builder = start(trt, trt.Builder, log)
    flags = trt.NetworkDefinitionCreationFlag
    network = builder.create_network(1 << int(getattr(flags, "EXPLICIT_BATCH", 0)))
    content = Path(path).read_bytes()
    begin = time.perf_counter()
    parsed = trt.OnnxParser(network, log).parse(content)
    if not parsed:
        raise click.ClickException(f"{path}: {'; '.join(messages)[:300]}")
    return time.perf_counter() - begin


def build(path: str, plan: str, wanted: Mapping[str, object]) -> float:
    """Build a plan; return the seconds that it took, with the check where there is a GPU."""
    begin = time.perf_counter()
    odtk_ray.export(path, plan, reporter=LogReporter(), **wanted)  # type: ignore[arg-type]
    return time.perf_counter() - begin


def found_in_noise(
    engine: TensorRTEngine, noise: Noise, about: ExportedModel, batch: int
) -> list[Detections]:
    """Return the detections of the first batch of noise."""
    step, device = engine._step, engine._device
    noise.feed(engine, 0)
    step.run()
    results = PinnedDetections(device, batch, about.post.detections, about.box_values)
    results.download(step._found)
    device.synchronize()
    return [results.row(slot) for slot in range(batch)]


def run(plan: str, batch: int, launches: int) -> tuple[float, list[Detections]]:
    """Measure images a second; return them with the detections of a batch of noise."""
    about = read_sidecar(plan)
    engine = make_engine(plan, about, batch)
    noise = Noise(engine._device, batch, about.model.size)
    middle = statistics.median(single(engine, noise, launches))
    found = found_in_noise(engine, noise, about.model, batch)
    engine.close()
    return batch / middle * 1e3, found


def matched(ones: list[Detections], others: list[Detections]) -> str:
    """Format how many detections have a partner."""
    counts = [match(one, other, score=0) for one, other in zip(ones, others, strict=True)]
    pairs, counted = (sum(column) for column in zip(*counts, strict=True))
    return f"{pairs:,} of {counted:,}"


@click.command(help=__doc__.splitlines()[0])
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--batch", type=click.IntRange(1), multiple=True, default=[1, 8], show_default=True)
@click.option("--launches", type=click.IntRange(1), default=50, show_default=True)
@click.option("--full-precision", is_flag=True, help="Build in FP32; the default is FP16.")
@click.option("--capability", help="Compute capability to build for, with tensorrt-rtx.")
def main(
    files: tuple[str, ...],
    batch: tuple[int, ...],
    launches: int,
    full_precision: bool,
    capability: str | None,
) -> None:
    print(machine())
    capabilities = (capability,) if capability else ()
    wanted = {"full_precision": full_precision, "compute_capability": capabilities,
              "dynamic_batch_opts": (1, max(batch), max(batch))}  # fmt: skip
    here = bool(list_gpus()) and not capability
    speeds = [f"img/s at {size}" for size in batch] + ["as the first"] if here else []
    rows = [["file", "parse", "build", "MB", *speeds]]
    first: list[Detections] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            plan = os.path.join(folder, f"{Path(path).stem}.plan")
            times = parse_seconds(path, capabilities), build(path, plan, wanted)
            row = [Path(path).stem, f"{times[0]:.2f}", f"{times[1]:.1f}",
                   f"{os.path.getsize(plan) / 1e6:.0f}"]  # fmt: skip
            for size in batch if here else ():
                speed, found = run(plan, size, launches)
                row.append(f"{speed:,.0f}")
            if here:
                first = first or found
                row.append(matched(found, first))
            rows.append(row)
            print(*row, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
