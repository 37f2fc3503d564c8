"""CUDA graphs through the driver's C interface, which PyCUDA does not cover."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable

from cuda_ops.compiler import CudaUnavailable

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile


class Graph:
    """The work that was queued while a stream was captured; one call replays it.

    Belongs to the thread whose context is current, and holds what it was captured from only by
    address: buffers must outlive it.
    """

    def __init__(self, cuda: ctypes.CDLL, executable: ctypes.c_void_p, stream: int) -> None:
        self._cuda, self._executable, self._stream = cuda, executable, ctypes.c_void_p(stream)
        self._end = weakref.finalize(self, cuda.cuGraphExecDestroy, executable)
        self._end.atexit = False

    def launch(self) -> None:
        """Queue everything on the stream.

        Raises:
            RuntimeError: the driver refuses.
        """
        _check(self._cuda, self._cuda.cuGraphLaunch(self._executable, self._stream))

    def close(self) -> None:
        """Free the graph; the context must still exist."""
        self._end()


def capture(stream: int, queue: Callable[[], None]) -> Graph:
    """Record what `queue` puts on a stream, without running it.

    Args:
        stream: handle (CUstream) of the current context's stream.
        queue: allocates nothing and waits for nothing, and was called before, so that everything
            it needs is loaded.

    Raises:
        RuntimeError: something that it did cannot be captured.
        CudaUnavailable: there is no driver.
    """
    cuda = _driver()
    graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
    handle = ctypes.c_void_p(stream)
    _check(cuda, cuda.cuStreamBeginCapture_v2(handle, _THREAD_LOCAL))
    try:
        queue()
    finally:  # the stream must leave capture, whatever happened
        ended = cuda.cuStreamEndCapture(handle, ctypes.byref(graph))
    _check(cuda, ended)
    flags = ctypes.c_ulonglong(0)
    made = cuda.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, flags)
    cuda.cuGraphDestroy(graph)
    _check(cuda, made)
    return Graph(cuda, executable, stream)


def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CudaUnavailable(f"there is no CUDA driver ({error})") from error


def _check(cuda: ctypes.CDLL, status: int) -> None:
    if status == 0:
        return
    name = ctypes.c_char_p()
    cuda.cuGetErrorName(status, ctypes.byref(name))
    raise RuntimeError(f"a CUDA graph failed: {(name.value or b'?').decode()} ({status})")
