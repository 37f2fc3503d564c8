"""The names that builder and engine use exist in TensorRT 8.6, 10.3, 10.16 and 11.4.

Their real bindings load where the libraries are stubs, so nothing is built or run here;
`test_builder.py` builds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

# TensorRT, its package, and whether its networks are strongly typed.
VERSIONS = [
    ("8.6.1", "tensorrt-bindings", False),
    ("10.3.0", "tensorrt-cu12-bindings", False),
    ("10.16.1.11", "tensorrt-cu13-bindings", True),
    ("11.4.0.106", "tensorrt-cu13-bindings", True),
]
SYMBOLS = """createInferBuilder_INTERNAL createInferRuntime_INTERNAL createInferRefitter_INTERNAL
    createNvOnnxParser_INTERNAL createNvOnnxParserRefitter_INTERNAL getPluginRegistry
    getBuilderPluginRegistry getNvOnnxParserVersion initLibNvInferPlugins
    _ZN14nvcaffeparser117createCaffeParserEv _ZN14nvcaffeparser123shutdownProtobufLibraryEv
    _ZN11nvuffparser15createUffParserEv
    _ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi""".split()

CHECK = """
import sys
import tensorrt_bindings as trt
sys.modules["tensorrt"] = trt
from odtk_ray.exports.tensorrt import build_plan as builder
from odtk_ray.engines.tensorrt_package import Interruption, import_tensorrt, make_logger
assert import_tensorrt() is trt
assert trt.__version__.startswith(sys.argv[1]), trt.__version__
typed = sys.argv[2] == "True"
assert builder.is_strongly_typed(trt) is typed
# Every name below is used by plan.py on this version without a question.
for owner, names in {
    trt.Builder: "create_network create_builder_config create_optimization_profile "
                 "build_serialized_network",
    trt.INetworkDefinition: "name num_inputs get_input num_outputs get_output num_layers "
                            "get_layer",
    trt.OnnxParser: "parse num_errors get_error",
    trt.IBuilderConfig: "clear_flag set_flag add_optimization_profile set_memory_pool_limit "
                        "create_timing_cache set_timing_cache get_timing_cache "
                        "get_tactic_sources set_tactic_sources profiling_verbosity",
    trt.ProfilingVerbosity: "DETAILED",
    trt.IOptimizationProfile: "set_shape",
    trt.ITimingCache: "serialize combine",
    trt.MemoryPoolType: "WORKSPACE",
    trt.ILogger.Severity: "ERROR INTERNAL_ERROR",
    trt.BuilderFlag: "TF32",
    # exports/tensorrt/float_resizes.py
    trt.ILayer: "type num_outputs get_output get_input set_input",
    trt.LayerType: "RESIZE DEQUANTIZE",
    # engines/loaded_plan.py
    trt.Runtime: "deserialize_cuda_engine",
    trt.ICudaEngine: "name num_io_tensors get_tensor_name get_tensor_dtype "
                     "create_execution_context create_engine_inspector",
    trt.EngineInspector: "execution_context get_engine_information",
    trt.LayerInformationFormat: "JSON",
    trt.IExecutionContext: "set_input_shape set_tensor_address execute_async_v3",
    trt: "float32",
}.items():
    missing = [name for name in names.split() if not hasattr(owner, name)]
    assert not missing, (owner, missing)
if not typed:
    assert hasattr(trt.BuilderFlag, "FP16") and hasattr(trt.BuilderFlag, "INT8")
flags = trt.NetworkDefinitionCreationFlag
wanted = "STRONGLY_TYPED" if typed else "EXPLICIT_BATCH"
assert builder._network_flags(trt, typed) == 1 << int(getattr(flags, wanted))
try:
    builder._check_takes_types(trt)
except builder.UsageError as error:
    assert not typed, error
else:
    assert typed
log = make_logger(trt, [])
log.log(trt.ILogger.Severity.ERROR, "x")
monitor = builder._monitor(trt, Interruption(), print)
if hasattr(trt, "IProgressMonitor"):
    assert {"phase_start", "phase_finish", "step_complete"} <= set(dir(trt.IProgressMonitor))
    assert hasattr(trt.IBuilderConfig, "progress_monitor")
    assert monitor.step_complete("phase", 1)
else:
    assert trt.__version__.startswith("8.") and monitor is None
assert not hasattr(trt.IBuilderConfig, "set_compute_capability")
print("right")
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """Libraries of both major versions that have the symbols and nothing behind them."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("stubs")
    source = folder / "stub.c"
    source.write_text(
        "\n".join(f"void *{name}(void) {{ return 0; }}" for name in SYMBOLS), encoding="utf-8"
    )
    for major in (8, 10, 11):
        for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers"):
            name = f"lib{library}.so.{major}"
            command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", source]
            subprocess.run([*command, "-o", folder / name], check=True)
    return folder


@pytest.mark.parametrize(("version", "package", "typed"), VERSIONS)
def test_names(stubs, tmp_path, version, package, typed):
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1",
         "--only-binary=:all:", f"--dest={tmp_path}", f"{package}=={version}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if pip.returncode:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        pytest.skip(f"no wheel of {package} {version} for Python {python}, or no package index")
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    paths = [str(tmp_path / "site"), sysconfig.get_path("purelib"), *sys.path]
    run = subprocess.run(
        [sys.executable, "-c", CHECK, ".".join(version.split(".")[:2]), str(typed)],
        env={"LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": ":".join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "right\n", run.stderr
