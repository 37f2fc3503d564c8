"""What happened to a run's images since it was planned, as one listing of their folder shows it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.datasets.annotation_paths import below, image_folder
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.shards.image_stamps import ImageStamps
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage.stamps import OUTSIDE


def stamp_images(
    config: InferConfig, records: pa.Table, *, everywhere: bool = True
) -> ImageStamps | None:
    """List the folder of the images, and return what the listing says of each.

    Args:
        config: the user's settings.
        records: table of RECORD_SCHEMA.
        everywhere: also of single files, lists and globs, where a stamp costs a request of its own,
            and of annotation files, whose folder may have much else in it.

    Returns:
        None where the folder cannot be listed, or none of the files is there.
    """
    root = image_folder(config.images)
    if config.annotations is not None and not everywhere:
        return None
    try:
        if not storage.is_folder(root):
            stamps = ImageStamps.of_files(records["path"].to_pylist()) if everywhere else None
            return stamps if stamps is not None and stamps.there.any() else None
        if config.annotations is None:
            names, deep = records["file_name"].to_pylist(), config.recursive
        else:
            names, deep = [below(root, path) for path in records["path"].to_pylist()], True
        return ImageStamps.of(root, names, recursive=deep)
    except OSError:
        return None


def see_replaced(config: InferConfig, run: RunFolder, reporter: Reporter) -> None:
    """Compare the images of a resumed run with what they were, and have replaced ones run again.

    Raises:
        UsageError: an image is now a link that leads out of the folder.
    """
    before = run.stamps
    if before is None:
        return
    now = stamp_images(config, run.plan.records)
    if now is None:
        reporter.warn(
            f"{config.images} cannot be listed: whether images were replaced since the run began "
            "is not known",
            "make it readable and resume again, or start a new run",
        )
        return
    _refuse_links(config, run, now)
    names = run.plan.records["file_name"]
    replaced = before.replaced(now)
    if replaced.any():
        first = int(np.argmax(replaced))
        how = (
            f"{before.size[first]:,} bytes, now {now.size[first]:,}"
            if before.size[first] != now.size[first]
            else "its ETag is another"
        )
        again = sum(len(shard) for shard in run.plan.shards if replaced[shard.rows].any())
        reporter.warn(
            f"{_were(replaced)} replaced since the run began, first {names[first]} ({how}): the "
            f"{counted(again, 'image')} of the same shards are detected again"
        )
        run.renew(now, replaced)
    if (touched := before.touched(now)).any():
        reporter.note(
            f"{_have(touched)} another time than when the run began, first "
            f"{names[int(np.argmax(touched))]}, and the same size: what was detected is kept"
        )
    if (gone := before.gone(now)).any():
        reporter.note(
            f"{_were(gone)} removed since the run began, first {names[int(np.argmax(gone))]}: what "
            "was detected is kept"
        )


def _refuse_links(config: InferConfig, run: RunFolder, now: ImageStamps) -> None:
    outside = now.size == OUTSIDE.size
    if outside.any():
        name = run.plan.records["file_name"][int(np.argmax(outside))]
        raise UsageError(
            f"cannot resume {run.path}",
            f"{name} is now a link that leads out of {config.images}, or lies behind one",
            "put the image back, or remove the run folder and start again",
        )


def _were(which: NDArray[np.bool_]) -> str:
    count = int(which.sum())
    return f"{counted(count, 'image')} {'was' if count == 1 else 'were'}"


def _have(which: NDArray[np.bool_]) -> str:
    count = int(which.sum())
    return f"{counted(count, 'image')} {'has' if count == 1 else 'have'}"
