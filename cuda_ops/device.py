"""One GPU as one thread sees it: its primary context, a stream, memory, compiled kernels."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from numpy.typing import DTypeLike, NDArray

from cuda_ops.compiler import CudaUnavailable, cubin
from cuda_ops.graph import Graph, capture

# The oldest GPUs whose FP16 arithmetic the engines count on; CUDA 13 compiles for none before them.
_LEAST_CAPABILITY = (7, 5)

# Hardware queues for streams, 32 at most. With the default of 8 one of nvJPEG's 14 streams shares
# its queue with the network, and pictures wait there until the launch before them has ended.
_QUEUES = ("CUDA_DEVICE_MAX_CONNECTIONS", "32")

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: the stream does not wait for the legacy default stream

# Lets go of a thread's contexts when the thread ends, which PyCUDA would answer with an abort.
_thread = threading.local()


class Device:
    """A GPU's primary context, current in the calling thread until `close`, and a stream.

    torch and TensorRT use the primary context too, so that pointers and the stream's handle are
    theirs as well (`torch.cuda.ExternalStream(device.stream)`).

    Args:
        index: of the GPU among the visible ones.

    Attributes:
        index: of the GPU among the visible ones.
        name: of the GPU.
        capability: its compute capability, such as (9, 0).
        stream: handle of the stream (CUstream).

    Raises:
        CudaUnavailable: no PyCUDA, no driver, no such GPU, or an old one.
    """

    index: int
    name: str
    capability: tuple[int, int]
    stream: int

    def __init__(self, index: int = 0) -> None:
        self._driver = _load_driver()
        self.index = index
        gpu = _find_gpu(self._driver, index)
        self.name = gpu.name()
        self.capability = gpu.compute_capability()
        if self.capability < _LEAST_CAPABILITY:
            raise CudaUnavailable(
                "{} has compute capability {}.{}, the kernels need 7.5 or more".format(
                    self.name, *self.capability
                )
            )
        context = gpu.retain_primary_context()
        context.push()
        self._context = context
        self._release = weakref.finalize(self, _pop, context, threading.get_ident())
        _thread.guards = [*getattr(_thread, "guards", []), _Guard(self._release)]
        self._stream = self._driver.Stream(_NON_BLOCKING)
        self.stream = int(self._stream.handle)
        self._modules: dict[str, Any] = {}

    def alloc(self, nbytes: int) -> Buffer:
        """Allocate device memory, aligned to 256 bytes or more, not initialised."""
        return Buffer(self._driver.mem_alloc(max(nbytes, 1)), nbytes)

    def pinned(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Allocate an array in page-locked memory, for asynchronous `upload` and `download`."""
        array: NDArray[Any] = self._driver.pagelocked_empty(shape, dtype)
        return array

    def upload(self, ptr: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to device memory, on the stream."""
        self._driver.memcpy_htod_async(ptr, array, self._stream)

    def download(self, array: NDArray[Any], ptr: int) -> None:
        """Copy device memory to a contiguous array, on the stream."""
        self._driver.memcpy_dtoh_async(array, ptr, self._stream)

    def zero(self, buffer: Buffer) -> None:
        """Fill a buffer with zero bytes, on the stream."""
        self._driver.memset_d8_async(buffer.ptr, 0, buffer.nbytes, self._stream)

    def event(self) -> Event:
        """Create an event in the stream, recorded by `Event.record`."""
        # PyCUDA frees an event in the context that was the thread's newest, maybe another device's.
        with _current(self._context):
            event = self._driver.Event(self._driver.event_flags.BLOCKING_SYNC)
        return Event(event, self._stream, self._context)

    def memory(self) -> tuple[int, int]:
        """Return the free bytes, and the bytes in all."""
        free, total = self._driver.mem_get_info()
        return int(free), int(total)

    def capture(self, queue: Callable[[], None]) -> Graph:
        """Record what a function queues on the stream; see `graph.capture`."""
        return capture(self.stream, queue)

    def synchronize(self) -> None:
        """Wait until the stream has done all that it was given."""
        self._stream.synchronize()

    def kernel(self, file: str, name: str, arguments: type[ctypes.Structure]) -> Kernel:
        """Load a kernel that takes one structure; compile its file unless that was done before.

        Args:
            file: a .cu file of this package, without its ending.
            name: of the entry point.
            arguments: mirrors the kernel's structure.

        Raises:
            CudaUnavailable: the file cannot be compiled or loaded.
        """
        if file not in self._modules:
            code = cubin(file, self.capability)
            try:
                self._modules[file] = self._driver.module_from_buffer(code)
            except self._driver.Error as error:
                raise CudaUnavailable(f"the driver refuses the compiled {file}: {error}") from error
        function = self._modules[file].get_function(name)
        function.prepare([f"{ctypes.sizeof(arguments)}s"])
        return Kernel(function, self._stream)

    def close(self) -> None:
        """Release the context; memory and kernels are freed when nothing refers to them."""
        self._release()


class Buffer:
    """Device memory that is freed with the object, or by `free`.

    Attributes:
        ptr: its address.
        nbytes: its size.
    """

    def __init__(self, allocation: Any, nbytes: int) -> None:
        self._allocation = allocation
        self.ptr = int(allocation)
        self.nbytes = nbytes

    def free(self) -> None:
        """Free the memory now."""
        self._allocation.free()


class Event:
    """A point in the device's stream."""

    def __init__(self, event: Any, stream: Any, context: Any) -> None:
        self._event = event
        self._stream = stream
        self._context = context

    def __del__(self) -> None:
        """Free the event, which another thread than the device's may let go of."""
        # PyCUDA prints a warning where no context is current; when the process ends there is none.
        with contextlib.suppress(Exception), _current(self._context):
            del self._event

    def record(self) -> None:
        """Set the point behind all that the stream was given so far."""
        self._event.record(self._stream)

    def synchronize(self) -> None:
        """Wait, without using the CPU, until the stream has passed the point; any thread may."""
        with _current(self._context):
            self._event.synchronize()

    def query(self) -> bool:
        """Return whether the stream has passed the event; any thread may call this."""
        with _current(self._context):
            return bool(self._event.query())

    def elapsed(self, since: Event) -> float:
        """Return milliseconds between two events that have passed; any thread may call this."""
        with _current(self._context):
            return float(self._event.time_since(since._event))


class Kernel:
    """An entry point that takes one structure by value."""

    def __init__(self, function: Any, stream: Any) -> None:
        self._function = function
        self._stream = stream

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: ctypes.Structure,
        shared: int = 0,
    ) -> None:
        """Launch on the device's stream.

        Args:
            grid: blocks, (x, y, z).
            block: threads of a block, (x, y, z).
            arguments: copied before the call returns.
            shared: bytes of dynamic shared memory.
        """
        self._function.prepared_async_call(
            tuple(grid), tuple(block), self._stream, bytes(arguments), shared_size=shared
        )


class _Guard:
    """Calls `release` when the thread that holds it ends."""

    def __init__(self, release: Callable[[], object]) -> None:
        self._release = release

    def __del__(self) -> None:
        self._release()


@contextlib.contextmanager
def _current(context: Any) -> Iterator[None]:
    """Make a context the current one of this thread, which may have none."""
    context.push()
    try:
        yield
    finally:
        context.pop()


def _pop(context: Any, thread: int) -> None:
    """Take a context off the stack of the thread that pushed it; no other thread can."""
    if threading.get_ident() == thread:
        context.pop()


def _load_driver() -> ModuleType:
    try:
        import pycuda.driver
    except ImportError as error:
        raise CudaUnavailable(f"PyCUDA cannot be imported ({error})") from error
    driver: ModuleType = pycuda.driver
    os.environ.setdefault(*_QUEUES)  # read when the process' first context is made
    try:
        driver.init()
    except driver.Error as error:
        raise CudaUnavailable(f"the CUDA driver cannot be used ({error})") from error
    return driver


def _find_gpu(driver: ModuleType, index: int) -> Any:
    count = driver.Device.count()
    if not 0 <= index < count:
        raise CudaUnavailable(f"there is no GPU {index} among {count} visible ones")
    return driver.Device(index)
