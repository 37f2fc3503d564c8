"""Errors of storage libraries as OSError, so that every caller meets those of local files only."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

# Of a path that no waiting makes readable: an unknown scheme, a missing package, too few parts.
_FINAL = (ImportError, ValueError, TypeError, NotImplementedError)


@contextlib.contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Raise whatever a storage library raises as OSError.

    botocore, aiohttp and others have types of their own. The errno is ENOTSUP where waiting changes
    nothing, EIO otherwise.

    Args:
        path: local path or URI.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        number = errno.ENOTSUP if isinstance(error, _FINAL) else errno.EIO
        raise OSError(number, str(error) or type(error).__name__, path) from error
