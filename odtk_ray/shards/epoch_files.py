"""The epoch files of a run folder: one for each driver that worked there; the newest owns it.

epoch-NNNN holds a random token, by which workers see that they are in the same folder, and the
digest of the plan that its driver works by, so that a plan that was edited later is noticed.
"""

from __future__ import annotations

import functools
import re
import secrets

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.storage.retry import with_retries

_NAME = re.compile(r"epoch-([0-9]+)")
_MOST_DIGITS = 9  # a driver a second for thirty years
_CONTENT = re.compile(r"[0-9a-f]{32}-([0-9a-f]{64})")


def make_token(digest: str) -> str:
    """Return the content of a new driver's epoch file.

    Args:
        digest: of the plan.
    """
    return f"{secrets.token_hex(16)}-{digest}"


def epoch_name(epoch: int) -> str:
    """Return the name of an epoch file."""
    return f"epoch-{epoch:04d}"


def claim(folder: str, token: str) -> int:
    """Claim the next epoch of a run folder; exactly one of several drivers gets each number.

    Raises:
        UsageError: there is an epoch file that no driver wrote.
    """
    epoch = next_epoch(folder)
    while not _create(storage.join(folder, epoch_name(epoch)), token.encode()):
        epoch += 1
    return epoch


def next_epoch(folder: str) -> int:
    """Return the first epoch that no driver has yet.

    Raises:
        UsageError: as `claim`.
    """
    return 1 + max(_epochs(folder), default=0)


def check_plan(folder: str, digest: str) -> None:
    """Check that the newest driver worked by the plan that is there now.

    A driver that was killed may have left an empty file: then the one before it says it.

    Raises:
        UsageError: the plan is another one.
    """
    for epoch in sorted(_epochs(folder), reverse=True):
        path = storage.join(folder, epoch_name(epoch))
        text = with_retries(functools.partial(storage.read_bytes, path))
        found = _CONTENT.fullmatch(text.decode(errors="replace"))
        if found is None:
            continue
        if found[1] != digest:
            why = f"its plan.json was changed after {epoch_name(epoch)} was written"
            raise unusable_run(folder, why)
        return


def unusable_run(folder: str, why: str) -> UsageError:
    """Create the error for a run folder that cannot be resumed."""
    hint = "remove the folder and start again without --resume"
    return UsageError(f"cannot resume from {folder}", why, hint)


def _epochs(folder: str) -> list[int]:
    names = with_retries(lambda: storage.list_files(folder, recursive=False)).names
    found = {name: match[1] for name in names if (match := _NAME.fullmatch(name))}
    for name, digits in found.items():
        if len(digits) > _MOST_DIGITS or name != epoch_name(int(digits)):
            raise unusable_run(folder, f"no driver wrote the {name[:40]} that is in it")
    return list(map(int, found.values()))


def _create(path: str, data: bytes) -> bool:
    """Write a file unless it exists; one that an error left half written exists, too."""
    return with_retries(lambda: storage.create(path, data))
