"""The frame around a command's process: signals, standard streams, and how it ends.

It imports nothing heavy, so that a signal that comes early finds it in place.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from odtk_ray.cli import stop_signals
from odtk_ray.cli.standard_streams import StandardStreams, write_error
from odtk_ray.errors import EXIT_FAILED


def main() -> NoReturn:
    """Entry point of the console script."""
    streams = StandardStreams()
    try:
        stop_signals.listen()
        from odtk_ray.cli.program import run

        code = run()
    except BaseException:
        if not stop_signals.asked_to_stop():
            raise
        write_error("stopped")
        code = EXIT_FAILED
    stop_signals.leave(code)
    code = streams.end(code)
    if not {"torch", "pyarrow"} & set(sys.modules):
        sys.exit(code)
    # To unload torch takes half a second more, and some processes that unload pyarrow are aborted
    # by its threads. The functions for the end are called.
    atexit._run_exitfuncs()
    os._exit(code)
