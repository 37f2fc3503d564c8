"""The TensorRT package of this machine, and what it says."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from odtk_ray.errors import OdtkError, UsageError

PACKAGES = ("tensorrt", "tensorrt_rtx")


def import_tensorrt(*names: str) -> Any:
    """TensorRT, or TensorRT for RTX.

    Args:
        names: of the packages that will do, the best first; all if none is named.

    Raises:
        UsageError: none of them is installed.
    """
    reasons = []
    for name in names or PACKAGES:
        try:
            return __import__(name)
        except ImportError as error:
            reasons.append(str(error))
    raise UsageError(
        "TensorRT plans need TensorRT",
        "; ".join(reasons),
        "pip install tensorrt, or tensorrt-rtx for GeForce and RTX cards",
    )


def describe(trt: Any) -> str:
    """Package and version; a plan runs only with those that built it."""
    return f"{trt.__name__} {trt.__version__}"


class Interruption:
    """What was raised in one of TensorRT's callbacks, which are run inside it.

    A signal's handler runs in the first Python code that there is: a callback. TensorRT would print
    the exception and go on.

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


def make_logger(
    trt: Any,
    messages: list[str],
    *,
    verbose: bool = False,
    interruption: Interruption | None = None,
) -> Any:
    """A logger that keeps errors for the message to the user.

    Args:
        trt: the package.
        messages: errors are appended.
        verbose: pass on everything that TensorRT says.
        interruption: takes what is raised meanwhile.
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
    """Makes a builder or a runtime.

    Raises:
        OdtkError: there is no driver, or no GPU.
    """
    try:
        return make(log)
    except Exception as error:  # pybind raises TypeError where the driver is missing
        raise OdtkError(
            f"{describe(trt)} does not start",
            str(error).splitlines()[0][:200],
            "it needs a GPU and its driver",
        ) from error
