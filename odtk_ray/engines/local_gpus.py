"""The GPUs and the TensorRT of this process, read from the driver: no torch, no PyCUDA."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from odtk_ray.engines.tensorrt_package import import_tensorrt, package_version
from odtk_ray.errors import OdtkError, UsageError

# Of CUDA's driver interface, cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


class Gpu(NamedTuple):
    """The kind of a GPU, which a TensorRT plan is bound to: name and capability, such as `8.9`."""

    name: str
    capability: str

    @property
    def is_slice(self) -> bool:
        """Whether it is a part of a GPU (MIG): CUDA adds the profile, as in `... MIG 1g.5gb`."""
        return " MIG " in self.name

    def __str__(self) -> str:
        return f"{self.name} ({self.capability})"


@dataclass(frozen=True)
class Machine:
    """The GPUs and the TensorRT that a process sees.

    Attributes:
        gpus: in CUDA's order; empty without a driver.
        tensorrt: package and version; empty without TensorRT.
        trouble: why there is no TensorRT.
    """

    gpus: tuple[Gpu, ...]
    tensorrt: str
    trouble: str = ""


# Inspects the machine of the calling process; a GPU that is passed becomes the current one.
InspectMachine = Callable[..., Machine]


def inspect_machine(use: Gpu | None = None) -> Machine:
    """Find the GPUs that this process may use, and its TensorRT.

    Args:
        use: the kind of GPU that CUDA and TensorRT should use in this thread, if there are several.

    Raises:
        OdtkError: that GPU cannot be used.
    """
    gpus = list_gpus()
    if use is not None and use in gpus[1:] and use != gpus[0]:
        _make_current(gpus.index(use))
    try:
        return Machine(gpus, package_version(import_tensorrt()))
    except UsageError as error:
        return Machine(gpus, "", error.why)
    except OSError as error:  # the package is there, and a library that it needs is not
        return Machine(gpus, "", str(error))


def list_gpus() -> tuple[Gpu, ...]:
    """List the GPUs that CUDA shows to this process; none without a driver."""
    cuda, count = _driver(), ctypes.c_int()
    if cuda is None or cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_describe(cuda, _device(cuda, index)) for index in range(count.value))


def _driver() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _device(cuda: Any, index: int) -> ctypes.c_int:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    return device


def _describe(cuda: Any, device: ctypes.c_int) -> Gpu:
    text = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(text, len(text), device)
    major, minor = ctypes.c_int(), ctypes.c_int()
    for value, attribute in ((major, _CAPABILITY_MAJOR), (minor, _CAPABILITY_MINOR)):
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return Gpu(text.value.decode(), f"{major.value}.{minor.value}")


def _make_current(index: int) -> None:
    """Make a device's primary context current in this thread, as cudaSetDevice does."""
    cuda, context = _driver(), ctypes.c_void_p()
    device = _device(cuda, index)
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) or cuda.cuCtxSetCurrent(
        context
    ):
        raise OdtkError(
            f"GPU {index} of this node cannot be used", "CUDA cannot create a context on it"
        )
