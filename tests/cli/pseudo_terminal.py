"""Programs that write to a terminal: a real one, of which the tests read what was written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading


@contextlib.contextmanager
def terminal():
    """A terminal: a file to write to, and the bytes that it got, complete when the block ends.

    They are read all the time: a terminal takes 4 KiB, and a slow bar writes more.
    """
    master, slave = os.openpty()
    seen = bytearray()
    reader = threading.Thread(target=_read, args=(master, seen))
    reader.start()
    with open(slave, "w", encoding="utf-8") as file:
        yield file, seen
    reader.join()
    os.close(master)


def on_terminal(*arguments, **environment):
    """Run the command line with a terminal for standard error.

    Args:
        arguments: of `odtk-ray`.
        environment: variables besides those that there are; None removes one.

    Returns:
        the exit code, standard output, which is no terminal, and what the terminal got.
    """
    names = os.environ | {"TERM": "xterm", "COLUMNS": "120"} | environment
    for name in ("NO_COLOR", "FORCE_COLOR"):
        names[name] = environment.get(name)
    with terminal() as (slave, seen):
        done = subprocess.run(
            [sys.executable, "-m", "odtk_ray", *map(str, arguments)],
            env={name: value for name, value in names.items() if value is not None},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave, check=False,
        )  # fmt: skip
    return done.returncode, done.stdout.decode(), seen.decode().replace("\r\n", "\n")


def _read(master, seen):
    while True:
        try:
            seen += os.read(master, 1 << 16)
        except OSError:  # what Linux says when the last writer has closed
            return
