"""The frame around every command: its exit code, SIGTERM, and messages instead of tracebacks."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from odtk_ray.cli.error_lines import print_failure, print_traceback


def guarded(command: Callable[[], int], debug: bool, *, resumable: bool = True) -> NoReturn:
    """Run a command and leave with its exit code; a failure is a message, not a traceback."""

    def stop(number: int, frame: FrameType | None) -> None:
        # SIGTERM, as a job's end or a scheduler sends it. Of what handlers raise, Ray's calls let
        # nothing else through.
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        code = command()
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            print_traceback(error)
        code = print_failure(error, resumable=resumable)
    sys.stdout.flush()
    sys.exit(code)
