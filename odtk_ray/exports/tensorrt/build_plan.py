"""Builds plans with TensorRT 8.5 to 11 or TensorRT for RTX; detects their differences.

Two ways to a precision: where networks are strongly typed, the types are in the ONNX; before that
flags allow less than FP32. Neither torch nor Ray is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from odtk_ray.artifacts.exported_model import INPUT_NAME, ExportedModel, Precision
from odtk_ray.artifacts.onnx_metadata import begins_with_cast
from odtk_ray.engines.tensorrt_package import (
    PACKAGES,
    Interruption,
    import_tensorrt,
    load_plugin,
    make_logger,
    start,
)
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.exports.tensorrt.float_resizes import resize_floats
from odtk_ray.exports.tensorrt.timing_cache import timing_cache

# Libraries that would have to be there wherever the plan runs; off by default from 10 on.
_FOREIGN_TACTICS = ("CUBLAS", "CUBLAS_LT", "CUDNN")


@dataclass(frozen=True)
class PlanOptions:
    """The options of a build.

    Attributes:
        precision: of the plan.
        batches: least, tuned and greatest batch.
        workspace: bytes of scratch memory that a layer may use; None leaves it to TensorRT.
        timing_cache: file of measured timings, read and written; None keeps none.
        capabilities: compute capabilities such as `8.9` to build for, where TensorRT builds for
            others than the GPU of this machine.
        verbose: print all of TensorRT's messages.
    """

    precision: Precision = "fp16"
    batches: tuple[int, int, int] = (1, 1, 16)
    workspace: int | None = None
    timing_cache: str | None = None
    capabilities: tuple[str, ...] = ()
    verbose: bool = False

    def __post_init__(self) -> None:
        least, tuned, greatest = self.batches
        if not 1 <= least <= tuned <= greatest:
            shown = " ".join(map(str, self.batches))
            raise UsageError(
                f"--dynamic-batch-opts {shown} is not a range",
                "it must be MIN OPT MAX, in rising order",
            )
        for capability in self.capabilities:
            if not re.fullmatch(r"[0-9]+\.[0-9]", capability):
                raise UsageError(
                    f"--compute-capability {capability} is not valid", "it looks like 8.9"
                )


def builder_package(capabilities: Sequence[str]) -> Any:
    """Import TensorRT; prefer TensorRT for RTX if plans are for GPUs that may not be here."""
    return import_tensorrt(*(PACKAGES[::-1] if capabilities else PACKAGES))


def is_strongly_typed(trt: Any) -> bool:
    """Return whether FP32 graphs are rewritten to the plan's types: from 10.12 on, and for RTX."""
    return not hasattr(trt.BuilderFlag, "FP16") or (_takes_types(trt) and _has_onnx())


def _takes_types(trt: Any) -> bool:
    """Return whether the types of a graph can decide: TensorRT from 10.12 on, 11, and RTX.

    10.0 to 10.11 know the flag, and NVIDIA vouches for it from 10.12 on; `build_engine_with_config`
    came in between.
    """
    if not hasattr(trt.BuilderFlag, "FP16"):
        return True
    typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    return typed and hasattr(trt.Builder, "build_engine_with_config")


def _has_onnx() -> bool:
    """Return whether the onnx package, which rewrites types, is installed; a Jetson may lack it."""
    import importlib.util

    return importlib.util.find_spec("onnx") is not None


def build_plan(
    onnx_file: bytes,
    about: ExportedModel,
    options: PlanOptions,
    *,
    name: str,
    progress: Callable[[str], None] = lambda _: None,
) -> bytes:
    """Build a plan for the GPU of this machine, or for `capabilities`.

    Args:
        onnx_file: a model of `odtk-ray export`.
        about: what it says about itself.
        options: how.
        name: of the network, which the plan keeps.
        progress: receives the phases of the build.

    Raises:
        UsageError: the precision or a capability is not available here, or the file does not
            suit plans, or its description is wrong.
        OdtkError: TensorRT cannot build it; the message is its own.
    """
    check_plan(about, options)
    trt = builder_package(options.capabilities)
    half = begins_with_cast(onnx_file)
    if half:
        _check_takes_types(trt)
    typed = half or is_strongly_typed(trt)
    if about.outputs == "plugin":
        load_plugin(trt)
    if typed and options.precision != "fp32" and not half:
        onnx_file = _halve(onnx_file)
    messages: list[str] = []
    interruption = Interruption()
    log = make_logger(trt, messages, verbose=options.verbose, interruption=interruption)
    builder = start(trt, trt.Builder, log)
    network = builder.create_network(_network_flags(trt, typed))
    parser = trt.OnnxParser(network, log)
    with interruption.holding_signals():
        parsed = parser.parse(onnx_file)
    if not parsed:
        found = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise OdtkError("TensorRT cannot read the model", "; ".join(found or messages)[:500])
    if not typed and options.precision == "int8":
        resize_floats(trt, network)
    network.name = name
    config = builder.create_builder_config()
    _set_precision(trt, builder, config, options.precision, typed)
    _set_targets(trt, config, options)
    profile = builder.create_optimization_profile()
    shapes = [(batch, 3, *about.size) for batch in options.batches]
    profile.set_shape(INPUT_NAME, *shapes)
    config.add_optimization_profile(profile)
    with timing_cache(config, options.timing_cache, progress):
        monitor = _monitor(trt, interruption, progress)
        if monitor is not None:
            config.progress_monitor = monitor
        with interruption.holding_signals():
            plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise OdtkError("TensorRT cannot build the plan", "; ".join(messages)[-500:])
    return bytes(memoryview(plan))


def check_plan(about: ExportedModel, options: PlanOptions) -> None:
    """Check that a plan can be built from the model with these options.

    Raises:
        UsageError: the graph's precision is another one, or its detections are not possible in it.
    """
    if about.outputs == "detections" and options.precision != "fp32":
        raise UsageError(
            "ONNX's own operators of detections compute in FP32",
            f"the plan would be {options.precision.upper()}",
            "--full-precision builds it in FP32; --plugin replaces these operators",
        )
    possible = ("fp32", "fp16") if about.precision == "fp32" else (about.precision,)
    if options.precision not in possible:
        raise UsageError(
            f"the model is {about.precision.upper()} and the plan would be "
            f"{options.precision.upper()}",
            "INT8 and --half are decided when the checkpoint is exported",
        )


def _network_flags(trt: Any, typed: bool) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    wanted = ["STRONGLY_TYPED"] if typed else ["EXPLICIT_BATCH"]  # the latter until 10
    return sum(1 << int(getattr(flags, flag)) for flag in wanted if hasattr(flags, flag))


def _set_precision(trt: Any, builder: Any, config: Any, precision: Precision, typed: bool) -> None:
    if precision == "fp32" and hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default: "FP32" would keep 10 bits
    for kind, fast in (("fp16", "platform_has_fast_fp16"), ("int8", "platform_has_fast_int8")):
        if precision == kind and getattr(builder, fast, True) is False:
            raise UsageError(
                f"this GPU has no {kind.upper()}", hint="--full-precision builds in FP32"
            )
    if not typed and precision != "fp32":
        config.set_flag(trt.BuilderFlag.FP16)
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)


def _set_targets(trt: Any, config: Any, options: PlanOptions) -> None:
    for name in _FOREIGN_TACTICS:
        if hasattr(trt.TacticSource, name):
            bit = 1 << int(getattr(trt.TacticSource, name))
            config.set_tactic_sources(config.get_tactic_sources() & ~bit)
    if hasattr(trt, "ProfilingVerbosity"):  # from 8.2 on; the summary asks for types of layers
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if not options.capabilities:
        return
    if not hasattr(config, "set_compute_capability"):
        raise UsageError(
            "--compute-capability is for TensorRT for RTX",
            f"{trt.__name__} {trt.__version__} builds for the GPU of this machine",
        )
    config.num_compute_capabilities = len(options.capabilities)
    for i, capability in enumerate(options.capabilities):
        name = f"SM{capability.replace('.', '')}"
        if not hasattr(trt.ComputeCapability, name):
            known = [n for n in dir(trt.ComputeCapability) if n.startswith("SM")]
            raise UsageError(
                f"{trt.__name__} {trt.__version__} does not build for {capability}",
                f"it knows {', '.join(sorted(known))}",
            )
        config.set_compute_capability(getattr(trt.ComputeCapability, name), i)


def _monitor(trt: Any, interruption: Interruption, progress: Callable[[str], None]) -> Any:
    """Make a monitor that reports phases, and ends the build when a signal has arrived.

    Returns None before TensorRT 10, where a build cannot be interrupted.
    """
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            with interruption:
                if parent is None:
                    progress(phase)

        def phase_finish(self, phase: str) -> None:
            pass

        def step_complete(self, phase: str, step: int) -> bool:
            return interruption.error is None

    return Monitor()


def _check_takes_types(trt: Any) -> None:
    if not _takes_types(trt):
        raise UsageError(
            f"{trt.__name__} {trt.__version__} does not build ONNX files of --half",
            "TensorRT 10.12 and later do",
            "export it without --half: the plan is FP16 all the same",
        )


def _halve(onnx_file: bytes) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise UsageError(
            "FP16 and INT8 with this TensorRT need the onnx package",
            str(error),
            "pip install onnx, or --full-precision",
        ) from error
    from odtk_ray.exports.onnx.half_types import to_half

    half: bytes = to_half(onnx.load_from_string(onnx_file)).SerializeToString()
    return half
