"""The CUDA libraries that were really loaded, against those that are installed."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator

from odtk_ray.plural import counted
from odtk_ray.stack.finding import Finding, ok, warning
from odtk_ray.stack.prober import Prober

_NAME = "loaded CUDA"
# NVIDIA's libraries of which a second copy does harm; the driver, libcuda, is the system's.
_LIBRARIES = re.compile(
    r"lib(cudart|cublas\w*|cudnn\w*|nvrtc[\w-]*|nvJitLink|nvjpeg|nvimgcodec|nvinfer\w*|"
    r"tensorrt_rtx\w*|tensorrt_onnxparser_rtx|nccl|cufft|cusparse\w*|cusolver)\.so[.\d]*"
)
_REMEDY = "unset LD_LIBRARY_PATH and LD_PRELOAD, or take the other copy off them"


def check_loaded_files(prober: Prober) -> Iterator[Finding]:
    """Find libraries that were loaded twice, or from elsewhere than they are installed.

    The packages must have been imported in the prober's process before.
    """
    loaded = prober.ask(loaded_files)
    by_name = defaultdict(list)
    for path in loaded:
        by_name[os.path.basename(path)].append(path)
    wrong = False
    for name, paths in by_name.items():
        if len(paths) > 1:
            wrong = True
            yield warning(_NAME, f"{name} is loaded twice: {' and '.join(paths)}", _REMEDY)
    for path, installed in prober.ask(strangers, loaded):
        wrong = True
        text = f"{path} is loaded, not {installed}, which is installed"
        yield warning(_NAME, text, _REMEDY)
    if not wrong:
        text = f"{counted(len(loaded), 'library', 'libraries')}, each once"
        yield ok(_NAME, text if loaded else "no library of NVIDIA's is loaded")


def loaded_files() -> list[str]:
    """Return the paths of NVIDIA's libraries in this process, sorted."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as stream:
        paths = {line.split(maxsplit=5)[5].rstrip("\n") for line in stream if "/" in line}
    return sorted(p for p in paths if _LIBRARIES.fullmatch(os.path.basename(p)))


def strangers(loaded: list[str]) -> list[tuple[str, str]]:
    """Return libraries from outside of Python's folders that are there under the same name too.

    Args:
        loaded: paths of libraries.

    Returns:
        each with the path of the installed one.
    """
    folders = [os.path.realpath(folder) for folder in sys.path if folder]
    found = []
    for path in loaded:
        if any(os.path.realpath(path).startswith(f"{folder}/") for folder in folders):
            continue
        name = glob.escape(os.path.basename(path))
        patterns = (f"nvidia/**/{name}", f"tensorrt*_libs/{name}", f"torch/lib/{name}")
        copies = [
            copy
            for folder in folders
            for pattern in patterns
            for copy in glob.glob(pattern, root_dir=folder, recursive=True)
        ]
        if copies:
            found.append((path, copies[0]))
    return found
