"""Measured timings of earlier builds, in a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from odtk_ray.errors import OdtkError
from odtk_ray.exports.output_files import writing


@contextlib.contextmanager
def timing_cache(config: Any, path: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """Use the timings of earlier builds, and keep those of this one if possible.

    Args:
        config: of TensorRT's builder.
        path: of the file; None keeps none.
        say: told why timings could not be kept.
    """
    if path is None or not hasattr(config, "create_timing_cache"):
        yield
        return
    content = b""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        content = file.read()
    known = config.create_timing_cache(content)
    if known is None or not config.set_timing_cache(known, False):
        # Timings of another GPU or version, or no timings at all: whose they are is not known.
        say(f"timings are not saved: {path} has none of this GPU and version of TensorRT; "
            "delete it, or name another file")  # fmt: skip
        yield
        return
    yield
    try:
        with writing(path) as part, open(part, "wb") as file:
            file.write(memoryview(config.get_timing_cache().serialize()))
    except OdtkError as error:  # the plan itself took minutes
        say(f"timings are not saved: {error}")
