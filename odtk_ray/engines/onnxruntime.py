"""Runs an exported model in ONNX Runtime, with `ops/` after raw outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.artifacts.exported_model import (
    INPUT_NAME,
    ExportedModel,
    read_exported,
    unusable_model,
)
from odtk_ray.engines.protocol import HostEngine
from odtk_ray.errors import UsageError
from odtk_ray.images.normalise import normalised_batch
from odtk_ray.records import Detections
from odtk_ray.settings import Postprocessing, Preprocessing


class OnnxRuntimeEngine(HostEngine):
    """Runs an ONNX file of `odtk-ray export`, on the CPU, or on a GPU where ONNX Runtime can.

    Every call computes a full launch batch, as `PyTorchEngine` does.

    Args:
        path: the file.
        post: thresholds behind raw outputs; a graph that ends in detections has its own.
        prep: how `read` makes pictures network input.
        launch_batch: pictures in one call.
        threads: CPU threads.
        gpu: use CUDA if ONNX Runtime has it.
        expect: SHA-256 of the file.

    Raises:
        UsageError: the file or the package cannot be used.
    """

    def __init__(
        self,
        path: str,
        post: Postprocessing,
        *,
        prep: Preprocessing = HostEngine.prep,
        launch_batch: int,
        threads: int = 1,
        gpu: bool = False,
        expect: str | None = None,
    ) -> None:
        self._about = read_exported(path, expect)
        self.prep = prep
        self._session = _session(path, threads, gpu)
        self._batch, self._post, self._threads = launch_batch, post, threads
        self.key = engine_key(self._session, self._about)

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        """See `HostEngine.detect`; `shape` is the model's size."""
        outputs = self._run(pictures, shape)
        if self._about.outputs == "raw":
            outputs = decode_raw(outputs, self._about, self._post, self._threads)
        return [_row(*(column[i] for column in outputs)) for i in range(len(pictures))]

    def raw(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[NDArray[np.float32]]:
        """Return the graph's own outputs for pictures as `detect` takes them."""
        return [output[: len(pictures)] for output in self._run(pictures, shape)]

    def _run(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[NDArray[Any]]:
        if shape != self._about.size:
            raise ValueError(f"the model's input is {self._about.size}, not {shape}")
        about = self._about
        batch = normalised_batch(pictures, self._batch, about.size, about.mean, about.std)
        return list(self._session.run(list(self._about.output_names), {INPUT_NAME: batch}))


def decode_raw(
    outputs: Sequence[NDArray[np.float32]],
    about: ExportedModel,
    post: Postprocessing,
    threads: int = 1,
) -> list[NDArray[Any]]:
    """Turn raw outputs into detections, with `ops/`.

    Returns:
        scores float32 [B, D], boxes_net float32 [B, D, 4], or [B, D, 6] of a rotated model, and
        classes int64 [B, D]; unused slots hold 0.
    """
    import torch

    from odtk_ray.ops.decode_heads import decode_heads
    from odtk_ray.ops.nms import nms

    torch.set_num_threads(threads)
    tensors = [torch.from_numpy(array) for array in outputs]
    levels = len(about.strides)
    found = decode_heads(
        tensors[:levels],
        tensors[levels:],
        [torch.from_numpy(level.anchors) for level in about.levels],
        about.strides,
        threshold=post.threshold,
        top_n=post.top_n,
        rotated=about.rotated,
    )
    kept = nms(
        *found,
        threshold=post.nms,
        detections=post.detections,
        own_angles=post.rotated_nms == "own",
    )
    return [column.numpy() for column in kept]


def engine_key(session: Any, about: ExportedModel) -> str:
    """Name what computes: the runtime, its version, the device and the precision."""
    import onnxruntime

    device = session.get_providers()[0].removesuffix("ExecutionProvider").lower()
    return f"onnxruntime-{onnxruntime.__version__}-{device}-{about.precision}"


def import_onnxruntime() -> Any:
    """Import ONNX Runtime.

    Raises:
        UsageError: it is not installed, or cannot be loaded.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "running ONNX models needs ONNX Runtime", str(error), "pip install onnxruntime"
        ) from error
    return onnxruntime


def _session(path: str, threads: int, gpu: bool) -> Any:
    onnxruntime = import_onnxruntime()
    onnxruntime.set_default_logger_severity(
        3
    )  # errors only; its warnings are about its own choices
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Its own INT8 kernels can overflow on CPUs without VNNI. So values are rounded to INT8 codes,
    # and summed in float32, which is as exact as TensorRT's int32.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    wanted = ["CUDAExecutionProvider"] * gpu + ["CPUExecutionProvider"]
    there = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=[name for name in wanted if name in there]
        )
    except Exception as error:  # its own types, all of them about the file
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise unusable_model(
            path, f"ONNX Runtime says: {first[:200]}", "export it again"
        ) from error


def _row(
    scores: NDArray[np.float32], boxes: NDArray[np.float32], classes: NDArray[Any]
) -> Detections:
    """Return the used slots of one image; unused slots have score 0."""
    used = scores > 0
    return Detections(scores[used], boxes[used], classes[used].astype(np.int32))
