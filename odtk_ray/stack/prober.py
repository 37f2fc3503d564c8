"""Calls functions in a process of their own, since what they import may crash or hang.

One process answers call after call, so that it loads the libraries together, as a worker does.
After a crash the next call starts another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Any

# Imports from a slow file system can take this long, and so can a GPU's first context.
_PATIENCE = 120.0  # seconds

_START = "import sys; sys.path[:] = {path!r}; from odtk_ray.stack.answer import main; main()"


class ProbeError(Exception):
    """A call that gave no answer; the message says what happened, in a clause.

    Attributes:
        crashed: whether the process died or hung, not the function raised.
    """

    def __init__(self, text: str, *, crashed: bool = False) -> None:
        self.crashed = crashed
        super().__init__(text)


class Prober:
    """A process that answers calls; a context manager, which ends it.

    Args:
        patience: seconds for a call.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None  # standard error of the process
        self._said_before = 0  # bytes of it when the call began

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a module in the process.

        Args:
            function: found there by its module and name.
            arguments: values that JSON has.

        Returns:
            what it returned, as JSON has it: tuples are lists.

        Raises:
            ProbeError: it raised, crashed or did not answer in time.
        """
        process = self._process or self._start()
        self._said_before = os.fstat(_file(self._said).fileno()).st_size
        request = [function.__module__, function.__qualname__, arguments]
        with contextlib.suppress(BrokenPipeError):  # it has died: no answer comes
            _file(process.stdin).write(f"{json.dumps(request)}\n".encode())
            _file(process.stdin).flush()
        if not _readable(_file(process.stdout), self._patience):
            self._end()
            raise ProbeError(f"no answer within {self._patience:,.0f} s", crashed=True)
        line = _file(process.stdout).readline()
        if not line.endswith(b"\n"):
            raise ProbeError(self._last_words(process), crashed=True)
        answer = json.loads(line)
        if "error" in answer:
            raise ProbeError(answer["error"])
        return answer["result"]

    def _start(self) -> subprocess.Popen[bytes]:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `_end`
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        return self._process

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        """Say how the process died, with the last line that it wrote."""
        code = process.wait()
        _file(self._said).seek(self._said_before)
        lines = _file(self._said).read().decode(errors="replace").split("\n")
        self._end()
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        return f"the process died ({how}{f': {said[:200]}' if said else ''})"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout, self._said):
                with contextlib.suppress(BrokenPipeError):  # of what it never read
                    _file(stream).close()
        self._process = self._said = None


def _file(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started with its files")
    return stream


def _readable(stream: IO[bytes], seconds: float) -> bool:
    """Wait until there is something to read, or the end; return whether there is."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(seconds))
