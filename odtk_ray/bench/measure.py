"""Measures one model with one batch, by the code that a run executes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odtk_ray.bench.memory import forget_peak, peak_bytes
from odtk_ray.config import InferConfig
from odtk_ray.engines.launch_timing import timed
from odtk_ray.engines.protocol import Engine
from odtk_ray.images.image_file import read_image_file
from odtk_ray.reporter import Reporter
from odtk_ray.run.open_detector import OpenDetector, open_detector
from odtk_ray.settings import Device

# Launches before the first that is timed: memory is reserved, algorithms are chosen, graphs made.
WARM_UP = 3


@dataclass(frozen=True)
class Figures:
    """How fast a model is with one batch; milliseconds are medians.

    Attributes:
        engine: names what computes, as `Engine.key`.
        device: that computes; ONNX Runtime may be without CUDA beside a GPU.
        batch: pictures in a launch.
        read_ms: to read a file.
        decode_ms: to decode and resize a picture in one thread; on a GPU that decodes JPEGs itself
            only their headers are read here, and the rest is part of a launch.
        network_ms: the network of a launch, without JPEGs and normalisation where a GPU does
            these; None where it ends in detections, so that it cannot be told from what is behind.
        postprocessing_ms: decoding and suppression; None likewise.
        launch_ms: a launch, from decoded pictures to detections.
        launch_p99_ms: what 99% of the launches do not exceed.
        images_per_second: over all stages beside each other, as in a run.
        memory: peak of this process in bytes; of an engine that measures it, the bytes that are in
            use on its GPU.
    """

    engine: str
    device: Device
    batch: int
    read_ms: float
    decode_ms: float
    network_ms: float | None
    postprocessing_ms: float | None
    launch_ms: float
    launch_p99_ms: float
    images_per_second: float
    memory: int


def measure(
    config: InferConfig, paths: Sequence[str], launches: int, reporter: Reporter
) -> Figures:
    """Open a model, warm it up, and time its stages one by one, then all of them together.

    Args:
        config: the model, its `fit` if it is a checkpoint, and the batch.
        paths: image files; a launch takes the first ones.
        launches: number of launches that are timed.
        reporter: receives remarks about decisions.

    Raises:
        OdtkError: the model cannot run here.
    """
    forget_peak()
    opened = open_detector(config, None, reporter)
    with opened.detector as detector:
        prep, batch = opened.settings.preprocessing, opened.settings.launch_batch
        chosen = [paths[i % len(paths)] for i in range(batch)]
        files = [read_image_file(path, prep) for path in chosen]
        if prep.fit is None:
            raise ValueError("models are measured at one size")
        stages = _Stages(opened, files, prep.fit, launches)
        launch, network, rest = detector.use(stages.time)
        read = timed(lambda: read_image_file(chosen[0], prep), launches)
        decode = detector.use(lambda engine: timed(lambda: engine.read(files[0]), launches))
        many = [paths[i % len(paths)] for i in range(batch * launches)]
        started = time.perf_counter()
        detector.detect(many)
        seconds = time.perf_counter() - started
        device: Device = "cpu" if "-cpu-" in detector.engine_key else opened.settings.device
        memory = detector.use(_gpu_bytes) if device == "gpu" else peak_bytes()
        return Figures(
            engine=detector.engine_key,
            device=device,
            batch=batch,
            read_ms=1e3 * statistics.median(read),
            decode_ms=1e3 * statistics.median(decode),
            network_ms=1e3 * statistics.median(network) if network else None,
            # Noise may make the difference less than nothing.
            postprocessing_ms=1e3 * max(0, statistics.median(rest)) if rest else None,
            launch_ms=1e3 * statistics.median(launch),
            launch_p99_ms=1e3 * percentile(launch, 99),
            images_per_second=len(many) / seconds,
            memory=memory,
        )


class _Stages:
    """Times launches in the engine's thread."""

    def __init__(
        self, opened: OpenDetector, files: Sequence[Any], shape: tuple[int, int], launches: int
    ) -> None:
        self._files, self._shape, self._launches = files, shape, launches
        self._divided = getattr(opened.model, "outputs", "raw") == "raw"

    def time(self, engine: Engine[Any]) -> tuple[list[float], list[float], list[float]]:
        """Return the seconds of launches, of the network alone, and of what a launch has more.

        The last two are empty where the network cannot run alone. Each launch is followed by the
        network, so that what slows this machine down for a while slows both.
        """
        pictures = [engine.read(data) for data in self._files]

        def launch_and_wait() -> None:
            engine.launch(pictures, self._shape)()

        timed(launch_and_wait, WARM_UP)
        stages: Any = getattr(engine, "stages", None)  # of engines whose pictures the GPU takes
        raw: Any = getattr(engine, "raw", None)  # of engines whose pictures the CPU decodes
        if not self._divided or (stages is None and raw is None):
            return timed(launch_and_wait, self._launches), [], []
        launch: list[float] = []
        network: list[float] = []
        if stages is not None:
            launch = timed(launch_and_wait, self._launches)
            both = [stages(self._shape) for _ in launch]
            return launch, [seconds for seconds, _ in both], [seconds for _, seconds in both]
        pixels = [picture.pixels for picture in pictures]
        for _ in range(self._launches):
            launch += timed(launch_and_wait, 1)
            network += timed(lambda: raw(pixels, self._shape), 1)
        return launch, network, [a - b for a, b in zip(launch, network, strict=True)]


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the least of the values that so many percent do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]


def _gpu_bytes(engine: Any) -> int:
    if not hasattr(engine, "memory"):  # ONNX Runtime with CUDA
        return peak_bytes()
    free, total = engine.memory()
    return int(total - free)
