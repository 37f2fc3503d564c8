"""Compiles the .cu files of this package for one GPU, with nvcc or NVRTC, and caches the code."""

from __future__ import annotations

import ctypes
import ctypes.util
import glob
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent

# Fused multiply-adds round once where `odtk_ray.ops` rounds twice.
_OPTIONS = ("-std=c++14", "-fmad=false")


class CudaUnavailable(Exception):  # noqa: N818 - a state of the machine, not a failure
    """The kernels cannot be used; the message says why in one sentence."""


def cubin(name: str, capability: tuple[int, int]) -> bytes:
    """Return the machine code of one .cu file, from the cache or compiled.

    nvcc is taken where there is one, and otherwise NVRTC, which also comes with torch.

    Args:
        name: of the file, without its ending.
        capability: compute capability of the GPU, such as (9, 0).

    Raises:
        CudaUnavailable: there is no compiler, or none that compiles for this GPU.
    """
    arch = "sm_{}{}".format(*capability)
    cached = cache_folder() / f"{name}-{arch}-{source_key()}.cubin"
    try:
        return cached.read_bytes()
    except OSError:
        code = _compile(SOURCES / f"{name}.cu", arch)
    _keep(cached, code)
    return code


def compilers() -> list[str]:
    """Name what can compile kernels here, with its version, the one that is taken first."""
    found = []
    if (nvcc := _find_nvcc()) is not None:
        done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False)
        release = re.search(r"release ([\d.]+)", done.stdout)
        found.append(f"nvcc {release[1] if release else 'of an unknown version'} ({nvcc})")
    if (library := _load_nvrtc()) is not None:
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        found.append(f"NVRTC {major.value}.{minor.value}")
    return found


def cache_folder() -> Path:
    """Return the folder of compiled kernels: `odtk-ray` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "odtk-ray"


def source_key(folder: Path = SOURCES) -> str:
    """Hash every source file and compiler option."""
    digest = hashlib.sha256("\0".join(_OPTIONS).encode())
    for path in sorted([*folder.glob("*.cu"), *folder.glob("*.cuh")]):
        data = path.read_bytes()
        digest.update(f"\0{path.name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:24]


def _compile(source: Path, arch: str) -> bytes:
    failures = []
    for compiler in (_nvcc, _nvrtc):
        try:
            return compiler(source, arch)
        except CudaUnavailable as failure:
            failures.append(str(failure))
    raise CudaUnavailable("the CUDA kernels cannot be compiled: " + "; ".join(failures))


def _nvcc(source: Path, arch: str) -> bytes:
    nvcc = _find_nvcc()
    if nvcc is None:
        raise CudaUnavailable("no nvcc was found")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.cubin"
        command = [nvcc, "-cubin", f"-arch={arch}", *_OPTIONS, "-o", str(output), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CudaUnavailable(f"{nvcc} failed on {source.name} ({_first_error(done.stderr)})")
        return output.read_bytes()


def _find_nvcc() -> str | None:
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    folders = [os.path.join(home, "bin") for home in [*homes, "/usr/local/cuda"]]
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(folders))


def _nvrtc(source: Path, arch: str) -> bytes:
    library = _load_nvrtc()
    if library is None:
        raise CudaUnavailable("no libnvrtc was found")
    # NVRTC 11 leaves the thread that calls it in the C locale, where Python opens files as ASCII.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_call_nvrtc, library, source, arch).result()


def _call_nvrtc(library: ctypes.CDLL, source: Path, arch: str) -> bytes:
    program = ctypes.c_void_p()
    text = source.read_bytes()
    options = [f"--gpu-architecture={arch}", *_OPTIONS, f"--include-path={source.parent}"]
    encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    created = library.nvrtcCreateProgram(
        ctypes.byref(program), text, source.name.encode(), 0, None, None
    )
    if created:
        raise CudaUnavailable(f"libnvrtc failed to start (error {created})")
    try:
        if library.nvrtcCompileProgram(program, len(options), encoded):
            log = _nvrtc_bytes(library, program, "ProgramLog").decode(errors="replace")
            raise CudaUnavailable(f"libnvrtc failed on {source.name} ({_first_error(log)})")
        return _nvrtc_bytes(library, program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _nvrtc_bytes(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    """Call nvrtcGet...Size and nvrtcGet..., and return the bytes."""
    size = ctypes.c_size_t()
    if getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)):
        return b""
    data = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, data)
    return data.raw


def _load_nvrtc() -> ctypes.CDLL | None:
    for name in _nvrtc_names():
        try:
            # The packaged library looks for this one by its bare name, and finds it once loaded.
            for builtins in glob.glob(
                f"{glob.escape(os.path.dirname(name))}/libnvrtc-builtins.so.*"
            ):
                ctypes.CDLL(builtins)
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _nvrtc_names() -> Iterator[str]:
    """List library names: NVIDIA's Python packages, which torch installs, then the system's."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(glob.glob(f"{folder}/*/lib/libnvrtc.so.*"), reverse=True)
    if (found := ctypes.util.find_library("nvrtc")) is not None:
        yield found


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")


def _keep(path: Path, code: bytes) -> None:
    """Write to the cache, whole or not at all: several workers may write at once.

    The writer of everything else is in `odtk_ray.storage`, of which this package knows nothing;
    and here names are random, since workers in containers share a home and have equal numbers.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            try:
                file.write(code)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError:  # a cache that cannot be written costs the next start some seconds
        return
