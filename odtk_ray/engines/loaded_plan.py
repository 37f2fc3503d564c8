"""A TensorRT plan in GPU memory, checked against its sidecar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from odtk_ray.artifacts.exported_model import DETECTION_NAMES, INPUT_NAME, unusable_model
from odtk_ray.artifacts.sidecar import Sidecar, rebuild_command
from odtk_ray.engines.tensorrt_package import load_plugin, make_logger, start
from odtk_ray.errors import OdtkError


class TensorRTPlan:
    """A TensorRT plan in GPU memory, with one execution context.

    Args:
        trt: the package that built it.
        path: of its file.
        about: its sidecar, already checked against the file.

    Raises:
        UsageError: it is not the plan that its sidecar describes.
        OdtkError: TensorRT refuses it, or the GPU's memory is too small.
    """

    def __init__(self, trt: Any, path: str, about: Sidecar) -> None:
        messages: list[str] = []
        self._trt = trt
        self._log = make_logger(trt, messages)  # TensorRT keeps no reference of its own
        if about.model.outputs == "plugin":
            load_plugin(trt)
        self._runtime = start(trt, trt.Runtime, self._log)
        self._engine = self._runtime.deserialize_cuda_engine(Path(path).read_bytes())
        if self._engine is None:
            raise _refused(path, about, messages)
        check_engine(trt, self._engine, path, about)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise _refused(path, about, messages)

    def bind(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
        """Set the addresses of input and outputs; `shape` is the input's."""
        if not self._context.set_input_shape(INPUT_NAME, shape):
            raise ValueError(f"the plan does not take {shape}")
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)

    def queue(self, stream: int) -> None:
        """Queue the network on a stream.

        Raises:
            RuntimeError: TensorRT refuses.
        """
        if not self._context.execute_async_v3(stream):
            raise RuntimeError("TensorRT could not queue the plan")

    def information(self) -> str:
        """Return TensorRT's JSON about the layers; input and outputs must be bound.

        Until then types are unknown to it where the batch is open ("N/A due to dynamic shapes").
        """
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Free the plan; the context of the device must still exist."""
        self._context = self._engine = self._runtime = None


def check_engine(trt: Any, engine: Any, path: str, about: Sidecar) -> None:
    """Check that the loaded engine is the plan that the sidecar describes.

    Raises:
        UsageError: it is not.
    """
    names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
    wanted = {INPUT_NAME, *about.model.output_names}
    kinds = dict.fromkeys(wanted, trt.float32)
    if about.model.ends_in_detections:
        kinds[DETECTION_NAMES[2]] = trt.int32
    found = {name: engine.get_tensor_dtype(name) for name in names}
    if engine.name != about.identity or found != kinds:
        hint = rebuild_command(path, about)
        raise unusable_model(path, "it is not the plan that its sidecar describes", hint)


def _refused(path: str, about: Sidecar, messages: Sequence[str]) -> OdtkError:
    why = "; ".join(messages)[:300] or "TensorRT does not say why"
    return OdtkError(
        f"TensorRT cannot run {path}", why, f"build it here: {rebuild_command(path, about)}"
    )
