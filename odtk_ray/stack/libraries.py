"""The Python packages that odtk-ray imports: whether they can be imported, and which versions."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from odtk_ray.stack.finding import Finding, Level, ok, problem, warning
from odtk_ray.stack.prober import ProbeError, Prober

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,-]*\])?>=([\d.]+)")


@dataclass(frozen=True)
class Library:
    """A package that odtk-ray imports.

    Attributes:
        module: that is imported.
        packages: names under which it may be installed, the usual one first.
        without: what does not work without it; empty where nothing does.
        absent: how bad it is where it is not installed.
        install: argument of `pip install`.
    """

    module: str
    packages: tuple[str, ...]
    without: str = ""
    absent: Level = Level.PROBLEM
    install: str = ""


LIBRARIES = (
    Library("numpy", ("numpy",)),
    Library("PIL", ("pillow", "pillow-simd")),
    Library("pyarrow", ("pyarrow",)),
    Library("orjson", ("orjson",)),
    Library("rich", ("rich",)),
    Library("torch", ("torch",), "checkpoints (.pth) cannot be run or exported", Level.WARNING),
    Library("ray", ("ray",), "infer needs --local", Level.WARNING, "'ray[data,default]'"),
    Library("pycocotools", ("pycocotools",), "rotated boxes cannot be evaluated", Level.WARNING),
    Library("fsspec", ("fsspec",), "nothing can be written to object stores", Level.WARNING),
    Library("s3fs", ("s3fs",), "nothing can be written to s3://", Level.OK, "'odtk-ray[s3]'"),
    Library("gcsfs", ("gcsfs",), "nothing can be written to gs://", Level.OK, "'odtk-ray[gcs]'"),
    Library("onnx", ("onnx",), "nothing can be exported to ONNX", Level.OK, "'odtk-ray[onnx]'"),
    Library("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), ".onnx models cannot be run",
            Level.OK, "'odtk-ray[onnx]'"),
    Library("tensorrt", ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
            "TensorRT plans need tensorrt or tensorrt_rtx", Level.OK, "tensorrt"),
    Library("tensorrt_rtx", ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
            "it is for GeForce and RTX cards", Level.OK, "tensorrt-rtx"),
    Library("pycuda", ("pycuda",), "the CUDA kernels cannot run", Level.OK, "'odtk-ray[cuda]'"),
    Library("nvidia.nvimgcodec", ("nvidia-nvimgcodec-cu13", "nvidia-nvimgcodec-cu12"),
            "GPUs decode no JPEGs", Level.OK, "'odtk-ray[cuda]'"),
)  # fmt: skip


def check_libraries(prober: Prober) -> Iterator[Finding]:
    """Import every package, and compare what was imported with what is installed."""
    least = least_versions()
    for library in LIBRARIES:
        name = library.module.rpartition(".")[2]
        installed = installed_version(library.packages)
        install = f"pip install {library.install or library.packages[0]}"
        try:
            found = prober.ask(import_library, library.module)
        except ProbeError as error:
            yield problem(
                name,
                f"{installed or 'it'} cannot be imported: {error}",
                _again(library, str(error)),
            )
            continue
        if found is None and not installed:
            if library.absent is Level.PROBLEM:
                yield problem(name, "not installed", install)
            elif library.absent is Level.WARNING:
                yield warning(name, f"not installed: {library.without}", install)
            else:
                yield ok(name, f"not installed: {library.without}")
        elif found is None:
            yield problem(name, f"{installed} is installed, and its files are not", _again(library))
        else:
            yield _judge(name, library, found, installed, least)


def _judge(
    name: str, library: Library, found: dict[str, str], installed: str, least: dict[str, str]
) -> Finding:
    """Compare the version that was imported with the installed and the needed one."""
    version = found["version"] or installed or "of an unknown version"
    if installed and found["version"] and not same_version(found["version"], installed):
        return problem(
            name,
            f"{version} is imported from {found['file']}, but {installed} is installed",
            f"{_again(library)}; PYTHONPATH may name a second copy",
        )
    needed = least.get(library.packages[0], "")
    if needed and numbers(version) < numbers(needed):
        return problem(
            name,
            f"{version} is too old: {needed} or newer is needed",
            f"pip install '{library.packages[0]}>={needed}'",
        )
    return ok(name, version)


def _again(library: Library, why: str = "") -> str:
    if "libcuda.so" in why:
        return "it needs the NVIDIA driver"
    package = next(filter(lambda name: installed_version((name,)), library.packages), "")
    return f"pip install --force-reinstall --no-deps {package or library.packages[0]}"


def import_library(module: str) -> dict[str, str] | None:
    """Import a module, in the process of a prober; return its version and file.

    Returns:
        None where there is no such module, empty texts for what it does not say.
    """
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if module == error.name or module.startswith(f"{error.name}."):
            return None
        raise
    version = getattr(found, "__version__", "")
    return {"version": str(version), "file": str(getattr(found, "__file__", None) or "")}


def installed_version(packages: tuple[str, ...]) -> str:
    """Return the version that the metadata of a package states; empty where there is none."""
    for name in packages:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def least_versions() -> dict[str, str]:
    """Return the least versions that odtk-ray's own metadata asks for, by package."""
    try:
        lines = metadata.requires("odtk-ray") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return {}
    return {found[1]: found[2] for line in lines if (found := _REQUIREMENT.match(line))}


def same_version(imported: str, installed: str) -> bool:
    """Return whether two versions are the same as far as both are stated, `+cu130` left out."""
    a, b = numbers(imported), numbers(installed)
    shared = min(len(a), len(b))
    return a[:shared] == b[:shared]


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 14, 1) of `2.14.1+cu130`."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
