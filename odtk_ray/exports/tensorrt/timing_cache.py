"""Measured timings of earlier builds, in a file; several files become one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from odtk_ray.engines.tensorrt_package import import_tensorrt, make_logger, start
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


def merge_timings(contents: Sequence[bytes]) -> tuple[bytes, list[bool]]:
    """Merge timings that were measured on this GPU, with this TensorRT, into one cache.

    Args:
        contents: of the caches.

    Returns:
        the merged cache, and of each whether it is in it: others are of another GPU or version.
    """
    trt = import_tensorrt()
    config = start(trt, trt.Builder, make_logger(trt, [])).create_builder_config()
    if not hasattr(config, "create_timing_cache"):
        return b"", [False] * len(contents)
    merged = config.create_timing_cache(b"")
    taken = []
    for content in contents:
        cache = config.create_timing_cache(content)
        taken.append(cache is not None and bool(merged.combine(cache, False)))
    return bytes(memoryview(merged.serialize())), taken
