"""Imports the TensorRT package of this machine, and handles its messages."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.jetson import jetson_release

PACKAGES = ("tensorrt", "tensorrt_rtx")
PLUGIN = "libodtk_plugin.so"  # looked for as the system looks for libraries


def import_tensorrt(*names: str) -> Any:
    """Import TensorRT, or TensorRT for RTX.

    Args:
        names: acceptable packages, the best first; all if none is named.

    Raises:
        UsageError: none of them is installed.
    """
    reasons = []
    for name in names or PACKAGES:
        try:
            return __import__(name)
        except ImportError as error:
            reasons.append(str(error))
    raise UsageError("TensorRT plans need TensorRT", "; ".join(reasons), _how_to_install())


def _how_to_install() -> str:
    if jetson_release() is None:
        return "pip install tensorrt, or tensorrt-rtx for GeForce and RTX cards"
    return (
        "sudo apt-get install python3-libnvinfer; a virtual environment sees it if it was made "
        "with --system-site-packages"
    )


def package_version(trt: Any) -> str:
    """Return package and version; a plan runs only with those that built it."""
    return f"{trt.__name__} {trt.__version__}"


def load_plugin(trt: Any) -> None:
    """Load the plugin that computes detections, so that TensorRT knows it.

    Args:
        trt: the package, whose libraries the plugin needs.

    Raises:
        UsageError: it is not here, or TensorRT takes none.
    """
    if not hasattr(trt.INetworkDefinition, "add_plugin_v2"):
        raise UsageError(
            f"{package_version(trt)} takes no plugins",
            hint="leave --plugin out: ONNX's own operators compute the detections",
        )
    try:
        ctypes.CDLL(PLUGIN, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise UsageError(
            "the plugin that computes the detections was not found",
            str(error),
            "cmake -B build cuda_ops/cpp && cmake --build build --target odtk_plugin; "
            "LD_LIBRARY_PATH names its folder",
        ) from error


class Interruption:
    """Keeps an exception that was raised in one of TensorRT's callbacks.

    TensorRT would print the exception and continue.

    Attributes:
        error: the last exception.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.error = error or self.error
        return True

    @contextlib.contextmanager
    def holding_signals(self) -> Iterator[None]:
        """Postpone exceptions of signal handlers, and raise them at the end.

        Python runs a handler when a callback is entered, before any line of it.
        """

        def held(handler: Callable[..., object]) -> Callable[..., None]:
            def note(number: int, frame: FrameType | None) -> None:
                with self:
                    handler(number, frame)

            return note

        main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if main else ()
        here = {number: signal.getsignal(number) for number in numbers}
        try:
            for number, handler in here.items():
                if callable(handler):
                    signal.signal(number, held(handler))
            yield
        finally:
            for number, handler in here.items():
                if callable(handler):
                    signal.signal(number, handler)
        if self.error is not None:
            raise self.error


def make_logger(
    trt: Any,
    messages: list[str],
    *,
    verbose: bool = False,
    interruption: Interruption | None = None,
) -> Any:
    """Make a logger that keeps TensorRT's errors for the message to the user.

    Args:
        trt: the package.
        messages: errors are appended.
        verbose: print all of TensorRT's messages.
        interruption: keeps exceptions that are raised meanwhile.
    """
    severity = trt.ILogger.Severity
    inside = interruption or Interruption()

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, text: str) -> None:
            with inside:
                if level in (severity.ERROR, severity.INTERNAL_ERROR):
                    messages.append(text.strip())
                if verbose:
                    os.write(2, f"{text}\n".encode())

    return Log()


def start(trt: Any, make: Callable[[Any], Any], log: Any) -> Any:
    """Make a builder or a runtime.

    Raises:
        OdtkError: there is no driver, or no GPU.
    """
    try:
        return make(log)
    except Exception as error:  # pybind raises TypeError where the driver is missing
        raise OdtkError(
            f"{package_version(trt)} does not start",
            str(error).splitlines()[0][:200],
            "it needs a GPU and its driver",
        ) from error
