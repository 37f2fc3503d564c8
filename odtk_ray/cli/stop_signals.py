"""What Ctrl-C, SIGTERM and SIGHUP do: the first stops the work, the third ends the process.

The state is the process's, as signal handlers are.
"""

from __future__ import annotations

import importlib
import os
import signal
from types import FrameType
from typing import NoReturn

from odtk_ray.cli.standard_streams import write_error
from odtk_ray.errors import EXIT_FAILED

_asked: list[int] = []  # the signals so far
_put_off: list[int] = []  # those of them that have had no effect yet

# Python code of the import system, and the seconds after which a signal within it comes again.
_IMPORT_SYSTEM = importlib.__import__.__code__.co_filename
_LATER = 0.01


def listen() -> None:
    """Have signals that ask to stop raise KeyboardInterrupt, once.

    Of what handlers raise, Ray's calls let nothing else through. What removes half-written files
    and ends Ray is not disturbed by a second signal; a third one ends the process as SIGKILL does,
    which every run survives. A signal that is ignored, as under nohup, stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def leave(code: int) -> None:
    """Have signals end the process at once: all is done, and this is its exit code."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        os._exit(code)

    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def asked_to_stop() -> bool:
    """Whether there was such a signal: libraries turn its exception into many others."""
    return bool(_asked)


def forget() -> None:
    """Have the next signal stop the work: what the last one raised was lost in a destructor."""
    _asked.clear()


def _stop(number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_filename == _IMPORT_SYSTEM:
        # What is raised here may leave a lock taken, and threads that import would wait for ever.
        _put_off.append(number)
        if len(_asked) + len(_put_off) > 2:
            write_error("stopped")
            os._exit(EXIT_FAILED)
        signal.signal(signal.SIGALRM, _come_back)
        signal.setitimer(signal.ITIMER_REAL, _LATER)
        return
    _asked.append(number)
    if len(_asked) == 1:
        raise KeyboardInterrupt
    if len(_asked) == 2:
        write_error("stopping; once more ends it at once")
        return
    write_error("stopped")
    os._exit(EXIT_FAILED)


def _come_back(_: int, frame: FrameType | None) -> None:
    """Let the signals that were put off have their effect, or put them off again."""
    numbers = _put_off[:]
    _put_off.clear()
    for number in numbers:
        _stop(number, frame)
