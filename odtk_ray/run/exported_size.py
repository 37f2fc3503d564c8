"""Says what an exported model does to the pictures of a run, since nobody asked for it there."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pyarrow as pa

from odtk_ray.config import InferConfig
from odtk_ray.images.resize import scales
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.settings import Preprocessing

# Of the scale that checkpoints run at by default. Below it objects have a quarter of the pixels.
_SMALL = 0.5
_USUAL = Preprocessing()


def say_exported_size(
    config: InferConfig, prep: Preprocessing, records: pa.Table, reporter: Reporter
) -> None:
    """Say the input size of an exported model, and whether pictures come out small in it.

    Args:
        config: names the model; who gives its size as a flag knows it.
        prep: with the `fit` of the model.
        records: the planned images, of which those with unknown sizes do not count.
        reporter: gets the remarks.
    """
    if prep.fit is None or (config.resize, config.max_size, config.fit) != (None, None, None):
        return
    name = os.path.basename(config.model.rstrip("/"))
    what = "windows" if prep.tile else "pictures"
    reporter.note(f"{name} scales {what} to fit into {prep.fit[0]}x{prep.fit[1]} (height x width)")
    widths, heights = (records[column].to_numpy() for column in ("width", "height"))
    usual = replace(prep, fit=None, resize=_USUAL.resize, max_size=_USUAL.max_size)
    here, there = scales(widths, heights, prep), scales(widths, heights, usual)
    small = np.flatnonzero(here < _SMALL * there)
    if len(small):
        first = int(small[0])
        reporter.warn(
            f"{name} has a small input: {len(small):,} of {counted(len(records), 'picture')} come "
            f"out at under half the scale of --resize {_USUAL.resize} --max-size {_USUAL.max_size} "
            f"(the first, {records['file_name'][first].as_py()}, at {here[first]:.2f} instead of "
            f"{there[first]:.2f})",
            "unless the model was trained so, export it with a larger --size",
        )
