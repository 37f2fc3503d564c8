"""The GPUs of this machine, and what of the software works on them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

from odtk_ray.stack.finding import Finding, ok, problem, warning
from odtk_ray.stack.libraries import numbers
from odtk_ray.stack.prober import ProbeError, Prober

_KERNELS = ("preprocess", "decode", "nms", "iou")
_CUDA = "pip install 'odtk-ray[cuda]'"


def check_gpus(prober: Prober) -> Iterator[Finding]:
    """Find the GPUs, and try on them what workers use."""
    found = prober.ask(find_gpus)
    if not found["gpus"]:
        hint = "runs use the CPU; for a GPU install NVIDIA's driver, or give it to the container "
        yield warning("GPUs", f"none: {found['reason']}", f"{hint}(docker run --gpus all)")
    for index, (name, capability) in enumerate(found["gpus"]):
        text = f"{name}, compute capability {capability}, driver for CUDA {found['driver']}"
        yield ok(f"GPU {index}", text)
    if found["gpus"]:
        for check in (_torch, _kernels, _decoders, _tensorrt):
            yield from check(prober, found)


def check_compilers(prober: Prober) -> Iterator[Finding]:
    """Name what can compile the CUDA kernels."""
    found = prober.ask(find_compilers)
    text = ", ".join(found) or "no nvcc and no NVRTC: the CUDA kernels cannot be compiled"
    yield ok("compiler", text)


def _torch(prober: Prober, found: dict[str, Any]) -> Iterator[Finding]:
    try:
        torch = prober.ask(try_torch)
    except ProbeError as error:
        yield warning("torch on GPUs", f"not tried: {error}")
        return
    built = torch["cuda"]
    if not built:
        hint = "install torch for CUDA: its CPU version is there"
        yield problem("torch on GPUs", "torch is built without CUDA", hint)
    elif torch["failed"]:
        hint = f"GPUs: {torch['architectures']}; install a torch for these GPUs and this driver"
        if numbers(built)[:1] > numbers(found["driver"])[:1]:
            hint = f"update the driver, or install torch for CUDA {found['driver']}"
        for index, why in torch["failed"]:
            which = f"GPU {index}" if index >= 0 else "every GPU"
            text = f"{which} fails with torch for CUDA {built}: {why}"
            yield problem("torch on GPUs", text, hint)
    else:
        yield ok("torch on GPUs", f"works, built for CUDA {built}")


def _kernels(prober: Prober, found: dict[str, Any]) -> Iterator[Finding]:
    for index, (name, _) in enumerate(found["gpus"]):
        try:
            prober.ask(try_kernels, index)
        except ProbeError as error:
            hint = f"PyTorch computes instead, which is slower; {_CUDA}"
            yield warning("CUDA kernels", f"GPU {index}: {error}", hint)
        else:
            yield ok("CUDA kernels", f"compile and load on GPU {index}, {name}")


def _decoders(prober: Prober, _: dict[str, Any]) -> Iterator[Finding]:
    try:
        abilities = prober.ask(try_decoders)
    except ProbeError as error:
        yield warning("nvImageCodec", f"the CPU decodes JPEGs: {error}", _CUDA)
        return
    if not abilities["decoders"]:
        why = "; ".join(abilities["remarks"])
        yield warning("nvImageCodec", why, f"JPEGs are decoded more slowly; {_CUDA}")
    else:
        yield ok("nvImageCodec", f"decodes JPEGs with {', '.join(abilities['decoders'])}")


def _tensorrt(prober: Prober, _: dict[str, Any]) -> Iterator[Finding]:
    for package in ("tensorrt", "tensorrt_rtx"):
        try:
            version = prober.ask(try_tensorrt, package)
        except ProbeError as error:
            hint = "plans cannot be built or run; check the GPUs that this version supports"
            yield warning("TensorRT on GPUs", f"{package}: {error}", hint)
        else:
            if version:
                yield ok("TensorRT on GPUs", f"{version} starts")


def find_gpus() -> dict[str, Any]:
    """Ask the driver for the GPUs, in the process of a prober.

    Returns:
        `gpus` as [name, compute capability], `driver` as the newest CUDA that it knows, such as
        `13.0`, and the `reason` where there are none.
    """
    from odtk_ray.engines.local_gpus import list_gpus

    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return {"gpus": [], "driver": "", "reason": f"no NVIDIA driver ({error})"}
    code, version = cuda.cuInit(0), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    reason = f"the driver answers with error {code}" if code else "the driver shows none"
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return {"gpus": [list(gpu) for gpu in list_gpus()], "driver": driver, "reason": reason}


def find_compilers() -> list[str]:
    """Return what can compile the CUDA kernels, in the process of a prober."""
    from cuda_ops.compiler import compilers

    return compilers()


def try_torch() -> dict[str, Any]:
    """Multiply a matrix on each GPU, in the process of a prober.

    Returns:
        the version of `cuda` that torch is built for, its `architectures`, and what `failed` as
        [GPU, reason], with GPU -1 for all of them.
    """
    import torch

    failed: list[tuple[int, str]] = []
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:
        count, failed = 0, [(-1, str(error).splitlines()[0])]
    for index in range(count):
        try:
            ones = torch.ones(64, 64, device=f"cuda:{index}", dtype=torch.float16)
            float((ones @ ones).sum())
        except RuntimeError as error:
            failed.append((index, str(error).splitlines()[0]))
    architectures = " ".join(torch.cuda.get_arch_list())
    return {"cuda": torch.version.cuda or "", "architectures": architectures, "failed": failed}


def try_kernels(index: int) -> None:
    """Compile the CUDA kernels for a GPU and open it, in the process of a prober."""
    import cuda_ops
    from cuda_ops.compiler import cubin

    device = cuda_ops.Device(index)
    try:
        for name in _KERNELS:
            cubin(name, device.capability)
    finally:
        device.close()


def try_decoders() -> dict[str, Any]:
    """Decode a JPEG on the first GPU, in the process of a prober."""
    from odtk_ray.worker.gpu_trial import found_abilities

    with found_abilities(None, every=True) as found:
        return {"decoders": found.decoders, "remarks": found.remarks}


def try_tensorrt(package: str) -> str:
    """Start a TensorRT package on the GPU, in the process of a prober; empty if there is none."""
    from odtk_ray.engines.tensorrt_package import (
        import_tensorrt,
        make_logger,
        package_version,
        start,
    )
    from odtk_ray.errors import UsageError

    try:
        trt = import_tensorrt(package)
    except UsageError:
        return ""
    start(trt, trt.Builder, make_logger(trt, []))
    return package_version(trt)
