"""Compiling for GPUs that this machine need not have, the cache, and what is said without one."""

import ctypes
import os
import subprocess
import sys

import pytest

import cuda_ops
from cuda_ops import arguments, bottleneck, compiler, epilogues, preprocess

FILES = ["bottleneck", "decode", "epilogues", "iou", "nms", "preprocess"]


def has_nvcc():
    return compiler._find_nvcc() is not None


def has_nvrtc():
    return compiler._load_nvrtc() is not None


needs_compiler = pytest.mark.skipif(not (has_nvcc() or has_nvrtc()), reason="no CUDA compiler")


@pytest.mark.skipif(not has_nvcc(), reason="no nvcc")
def test_nvcc_compiles():
    """`test_architectures.py` has all files, for all GPUs."""
    assert compiler._nvcc(compiler.SOURCES / "iou.cu", "sm_75").startswith(b"\x7fELF")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif(not has_nvrtc(), reason="no libnvrtc")
def test_nvrtc_compiles(name):
    assert compiler._nvrtc(compiler.SOURCES / f"{name}.cu", "sm_80").startswith(b"\x7fELF")


@needs_compiler
def test_machine_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = compiler.cubin("nms", (8, 0))
    assert code.startswith(b"\x7fELF")
    (kept,) = (tmp_path / "odtk-ray").iterdir()
    assert kept.name == f"nms-sm_80-{compiler.source_key()}.cubin"
    assert kept.read_bytes() == code
    kept.write_bytes(b"from the cache")
    assert compiler.cubin("nms", (8, 0)) == b"from the cache"


@needs_compiler
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiler.cubin("nms", (8, 0)).startswith(b"\x7fELF")


def test_the_key_changes_with_every_source(tmp_path):
    for path in [*compiler.SOURCES.glob("*.cu"), *compiler.SOURCES.glob("*.cuh")]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    keys = {compiler.source_key(), compiler.source_key(tmp_path)}
    assert len(keys) == 1
    for path in sorted(tmp_path.iterdir()):
        path.write_bytes(path.read_bytes() + b"\n")
        keys.add(compiler.source_key(tmp_path))
    assert len(keys) == 1 + len(list(tmp_path.iterdir()))


@needs_compiler
def test_a_gpu_that_no_compiler_knows(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(cuda_ops.CudaUnavailable, match="cannot be compiled: ") as failure:
        compiler.cubin("nms", (1, 0))
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.iterdir())


def test_without_pycuda_one_sentence_says_so(tmp_path):
    """In a process of its own, where an empty module takes PyCUDA's place."""
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").touch()
    code = "import cuda_ops\ntry: cuda_ops.Device()\nexcept cuda_ops.CudaUnavailable as e: print(e)"
    path = os.pathsep.join([str(tmp_path), str(compiler.SOURCES.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "PyCUDA cannot be imported (No module named 'pycuda.driver')\n"


def layout(file, *more, **structures):
    """A source that compiles if the kernel's structures have the fields where these have them."""
    lines = [f'#include "{compiler.SOURCES / file}.cu"']
    for name, structure in structures.items():
        lines += [f'static_assert(sizeof({name}) == {ctypes.sizeof(structure)}, "size");']
        for field, *_ in structure._fields_:
            place = getattr(structure, field).offset
            offset = f"__builtin_offsetof({name}, {field})"
            lines += [f'static_assert({offset} == {place}, "{field}");']
    return "\n".join([*lines, *more])


@needs_compiler
@pytest.mark.parametrize(
    ("file", "structures"),
    [
        ("decode", {"Level": arguments.LevelArgs, "DecodeArgs": arguments.DecodeArgs}),
        ("bottleneck", {"BottleneckArgs": bottleneck._BottleneckArgs}),
        ("epilogues", {"BiasArgs": epilogues._BiasArgs, "PoolArgs": epilogues._PoolArgs}),
        ("nms", {"NmsArgs": arguments.NmsArgs}),
        ("iou", {"IouArgs": arguments.IouArgs}),
        (
            "preprocess",
            {
                "Axis": preprocess._Axis,
                "Picture": preprocess._Picture,
                "PreprocessArgs": preprocess._PreprocessArgs,
            },
        ),
    ],
)
def test_structures_are_laid_out_as_the_kernels_expect(tmp_path, file, structures):
    source = tmp_path / "layout.cu"
    source.write_text(layout(file, **structures), encoding="utf-8")
    compiler._compile(source, "sm_80")


@needs_compiler
def test_a_structure_that_is_laid_out_in_another_way_does_not_compile(tmp_path):
    source = tmp_path / "layout.cu"
    source.write_text(
        layout("iou", 'static_assert(sizeof(IouArgs) == 1, "size");'), encoding="utf-8"
    )
    with pytest.raises(cuda_ops.CudaUnavailable):
        compiler._compile(source, "sm_80")
