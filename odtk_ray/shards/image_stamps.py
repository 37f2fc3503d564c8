"""What the listing said of a run's images, beside its plan: by it a resumed run sees replaced ones.

stamps.parquet  a row for each record: size, ETag and time, and the first epoch whose results count

It is no part of the plan, since it changes: when an image was replaced its row gets the new stamp
and the epoch of the driver that saw it, in one write, and older results of its shard do not count.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.shards.epoch_files import unusable_run
from odtk_ray.storage.retry import with_retries
from odtk_ray.storage.stamps import MISSING, OUTSIDE, file_stamps, list_stamps

_FILE = "stamps.parquet"
_COLUMNS = ("size", "etag", "time", "since")
_SCHEMA = pa.schema([(name, pa.int64()) for name in _COLUMNS])


@dataclass(frozen=True)
class ImageStamps:
    """The stamps of a run's images, in record order.

    Attributes:
        size: int64 [n], bytes; -1 where the listing did not have the image, -2 where it is a link
            that leads out of the folder, or lies behind one.
        etag: int64 [n], hash of the store's ETag; 0 unknown.
        time: int64 [n], of the last change; equal or not, no more.
        since: int64 [n], the first epoch whose results count.
    """

    size: NDArray[np.int64]
    etag: NDArray[np.int64]
    time: NDArray[np.int64]
    since: NDArray[np.int64]

    @classmethod
    def of(cls, root: str, names: Sequence[str], *, recursive: bool) -> ImageStamps:
        """List a folder once and pick the stamps of some of its files.

        Args:
            root: folder or URI.
            names: relative to it.
            recursive: enter sub-folders.

        Raises:
            OSError: it cannot be listed.
        """
        places = {name: place for place, name in enumerate(names)}
        table = np.zeros((4, len(names)), np.int64)
        table[0] = MISSING.size
        outside = set()
        for name, stamp in list_stamps(root, recursive=recursive):
            if (place := places.get(name)) is not None:
                table[:3, place] = stamp
            elif stamp is OUTSIDE:
                outside.add(name)
        if outside:
            behind = [place for name, place in places.items() if _is_below(name, outside)]
            table[0, behind] = OUTSIDE.size
        return cls(*table)

    @classmethod
    def of_files(cls, paths: Sequence[str]) -> ImageStamps:
        """Ask for the stamp of each of some files.

        Args:
            paths: local paths or URIs.
        """
        stamps = np.array([(*s, 0) for s in file_stamps(paths)], np.int64).reshape(-1, 4)
        return cls(*stamps.T)

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which images are there, bool [n]."""
        there: NDArray[np.bool_] = self.size >= 0
        return there

    def take(self, rows: NDArray[np.int64]) -> ImageStamps:
        """Return the stamps of some images."""
        return ImageStamps(*(getattr(self, name)[rows] for name in _COLUMNS))

    def same(self, now: ImageStamps) -> NDArray[np.bool_]:
        """Return which images have the same content now, as far as stamps show it, bool [n].

        The size is equal, and so is the ETag, or where there is none the time.
        """
        known = (self.etag != 0) & (now.etag != 0)
        timed = (self.time != 0) & (self.time == now.time)
        return _and(
            _both(self, now) & (self.size == now.size),
            np.where(known, self.etag == now.etag, timed),
        )

    def replaced(self, now: ImageStamps) -> NDArray[np.bool_]:
        """Return which images have another size or ETag now, bool [n]."""
        etags = (self.etag != 0) & (now.etag != 0) & (self.etag != now.etag)
        return _and(_both(self, now), (self.size != now.size) | etags)

    def touched(self, now: ImageStamps) -> NDArray[np.bool_]:
        """Return which images have another time now, and nothing else, bool [n]."""
        same = _both(self, now) & ~self.replaced(now)
        return _and(same, self.time != now.time)

    def gone(self, now: ImageStamps) -> NDArray[np.bool_]:
        """Return which images are not listed any more, bool [n]."""
        return _and(self.size >= 0, now.size == MISSING.size)

    def renewed(self, now: ImageStamps, which: NDArray[np.bool_], epoch: int) -> ImageStamps:
        """Return these stamps with some of now; results of those images count from `epoch`."""
        columns = {n: np.where(which, getattr(now, n), getattr(self, n)) for n in _COLUMNS[:3]}
        return ImageStamps(**columns, since=np.where(which, epoch, self.since))

    def counted_from(self, epoch: int) -> ImageStamps:
        """Return these stamps for a run of which no earlier epoch counts."""
        return replace(self, since=np.full_like(self.since, epoch))


def _is_below(name: str, folders: Collection[str]) -> bool:
    """Return whether a path's folder, or one above it, is among these."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in folders:
            return True
    return False


def _and(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = one & other
    return result


def _both(before: ImageStamps, now: ImageStamps) -> NDArray[np.bool_]:
    return _and(before.there, now.there)


def write_stamps(folder: str, stamps: ImageStamps) -> None:
    """Write the stamps into a run folder, replacing older ones.

    Raises:
        OSError: they cannot be written.
    """
    columns = [pa.array(getattr(stamps, name)) for name in _COLUMNS]
    buffer = io.BytesIO()
    table = pa.Table.from_arrays(columns, schema=_SCHEMA)
    # Times and hashes do not repeat: a dictionary would make them larger.
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False)
    data = buffer.getvalue()
    with_retries(lambda: storage.write_atomic(storage.join(folder, _FILE), data))


def read_stamps(folder: str, images: int) -> ImageStamps | None:
    """Read the stamps of a run folder; None if its images came from no folder.

    Args:
        folder: the run folder.
        images: number of records.

    Raises:
        UsageError: they are damaged, or of another run.
    """
    try:
        data = storage.read_bytes(storage.join(folder, _FILE))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable_run(folder, f"{_FILE}: {error.strerror or error}") from error
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unusable_run(folder, f"its {_FILE} is damaged") from error
    wrong = not table.schema.remove_metadata().equals(_SCHEMA) or len(table) != images
    if wrong or any(column.null_count for column in table.columns):
        raise unusable_run(folder, f"its {_FILE} is not that of its plan")
    return ImageStamps(*(column.to_numpy() for column in table.columns))
