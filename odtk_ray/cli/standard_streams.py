"""Standard output and error that can be closed, full or gone without ending a command."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from odtk_ray.errors import EXIT_FAILED, EXIT_OK


class StandardStreams:
    """Takes the place of `sys.stdout` and `sys.stderr`.

    What cannot be written is dropped, and standard output's first error is kept for the end.
    Numbers of closed streams are taken, lest the next file that is opened gets what is printed.
    """

    def __init__(self) -> None:
        for number in range(3):
            try:
                os.fstat(number)
            except OSError:
                # Nothing can be written to it, which is then said.
                os.open(os.devnull, os.O_RDONLY)
        self._out = _Dropping(1, "wb", closefd=False)
        sys.stdout = _text(self._out)
        sys.stderr = _text(_Dropping(2, "wb", closefd=False))

    def end(self, code: int) -> int:
        """Write what is left, and return the exit code: 1 if standard output was not written.

        A reader that has read enough, as `head` has, is no failure.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        error = self._out.error
        if error is not None and error.errno != errno.EPIPE:
            write_error(f"error: cannot write to standard output: {error.strerror}")
            code = EXIT_FAILED if code == EXIT_OK else code
        return code


def write_error(text: str) -> None:
    """Write a line of our own to standard error, also in a signal handler, and without imports."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:  # nobody is there to read it
        return


class _Dropping(io.FileIO):
    """A file descriptor that drops what it cannot write.

    Attributes:
        error: the first one, or None.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write bytes; see `io.FileIO.write`."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes


def _text(raw: _Dropping) -> io.TextIOWrapper:
    """Open it for text; what its encoding lacks is written as escapes."""
    buffered = io.BufferedWriter(raw)
    lines = raw.fileno() == 2 or raw.isatty()
    return io.TextIOWrapper(
        buffered, encoding="locale", errors="backslashreplace", line_buffering=lines
    )
