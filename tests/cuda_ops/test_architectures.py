"""Every .cu compiles for every kind of GPU from Jetson Xavier on, with few spills if any."""

from __future__ import annotations

import locale
import re
import subprocess
import sys
import zipfile

import pytest
from effort import long_case

from cuda_ops import compiler

FILES = ["bottleneck", "decode", "epilogues", "iou", "nms", "preprocess"]
# The oldest NVRTC that is packaged; JetPack 5, the last for Xavier (7.2), has CUDA 11.4.
OLDEST = "nvidia-cuda-nvrtc-cu11==11.7.99"
OLD_GPUS = ["sm_72", *(long_case(arch) for arch in ("sm_75", "sm_80", "sm_86", "sm_87"))]
JETSONS = ("sm_87", "sm_110")
# nvcc 13 has dropped Xavier. Orin is 8.7, Thor 11.0.
NEW_GPUS = ["sm_75", "sm_87", "sm_110", *(
    long_case(arch) for arch in ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
)]  # fmt: skip
VERBOSE = "--ptxas-options=-v"
SHARED = 48 << 10  # bytes that a block may have without asking for more
# Bytes a thread. nvcc 13.0 spills 10 for sm_80 (preprocess) and 60 for sm_100 (select).
SPILLED = 64


def check(code, log, spilled):
    """Read ptxas' log: how much kernels spill, and that their shared memory is what all may have.

    Args:
        code: the cubin.
        log: of ptxas.
        spilled: bytes that each thread of a kernel may spill.
    """
    assert code.startswith(b"\x7fELF")
    kernels = re.findall(r"Compiling entry function '(\w+)'", log)
    spills = re.findall(r"(\d+) bytes spill stores", log)
    assert len(kernels) == len(spills) > 0
    assert all(int(size) <= spilled for size in spills)
    assert all(int(size) <= SHARED for size in re.findall(r"(\d+) bytes smem", log))


@pytest.fixture(scope="module")
def old_nvrtc(tmp_path_factory):
    """The library, 20 MB to download: installed, it could take the place of torch's NVRTC."""
    folder = tmp_path_factory.mktemp("nvrtc")
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1",
         "--only-binary=:all:", f"--dest={folder}", OLDEST],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if pip.returncode:
        pytest.skip(f"no wheel of {OLDEST} for this machine, or no package index")
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    (library,) = folder.rglob("libnvrtc.so.*")
    return str(library)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("arch", OLD_GPUS)
def test_the_oldest_nvrtc_compiles(old_nvrtc, monkeypatch, name, arch):
    logs = []
    real = compiler._nvrtc_bytes

    def logged(library, program, what):
        logs.append(real(library, program, "ProgramLog").decode())
        return real(library, program, what)

    monkeypatch.setattr(compiler, "_nvrtc_names", lambda: iter([old_nvrtc]))
    monkeypatch.setattr(compiler, "_nvrtc_bytes", logged)
    monkeypatch.setattr(compiler, "_OPTIONS", (*compiler._OPTIONS, VERBOSE))
    encoding = locale.getpreferredencoding(False)
    check(compiler._nvrtc(compiler.SOURCES / f"{name}.cu", arch), logs[-1], 0)
    # This NVRTC leaves its thread in the C locale.
    assert locale.getpreferredencoding(False) == encoding


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("arch", NEW_GPUS)
@pytest.mark.skipif(compiler._find_nvcc() is None, reason="no nvcc")
def test_nvcc_compiles(tmp_path, name, arch):
    output = tmp_path / "out.cubin"
    options = [f"-arch={arch}", *compiler._OPTIONS, VERBOSE, "-o", output]
    command = [compiler._find_nvcc(), "-cubin", *options, compiler.SOURCES / f"{name}.cu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check(output.read_bytes(), done.stderr, 0 if arch in JETSONS else SPILLED)
