"""The frame around every command: its exit code, and messages instead of tracebacks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from odtk_ray.cli.error_lines import print_failure, print_traceback


def guarded(command: Callable[[], int], debug: bool, *, resumable: bool = True) -> NoReturn:
    """Run a command and leave with its exit code; a failure is a message, not a traceback."""
    try:
        code = command()
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            print_traceback(error)
        code = print_failure(error, resumable=resumable)
    sys.exit(code)
