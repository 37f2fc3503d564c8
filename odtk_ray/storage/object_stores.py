"""Writes to object stores: each object whole and by itself, since stores have no renames.

Readers go through pyarrow (`storage`). Writers go through fsspec: pyarrow can neither create an
object only where there is none, nor write a small one with a single request.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from odtk_ray.storage.os_errors import os_errors


def put(uri: str, data: bytes) -> None:
    """Write an object, replacing an older one; one request, unless it has hundreds of megabytes.

    Raises:
        OSError: the store does not take it.
    """
    with _os_errors(uri):
        _store(uri).pipe_file(uri, data)


def create(uri: str, data: bytes) -> bool:
    """Write an object unless it exists (`If-None-Match: *`); one of several writers gets True.

    Raises:
        OSError: the store does not answer.
    """
    try:
        with _os_errors(uri):
            _store(uri).pipe_file(uri, data, mode="create")
    except FileExistsError:
        return False
    return True


def upload(local: str, uri: str) -> None:
    """Copy a local file of any size; the object appears once it is complete."""
    with _os_errors(uri):
        _store(uri).put_file(local, uri)


def list_objects(uri: str, recursive: bool) -> tuple[str, dict[str, dict[str, Any]]]:
    """List the objects below a prefix with all that the store says of them.

    Returns:
        the prefix as it begins the keys, without slashes around it, and facts by key; their names
        are the store's.

    Raises:
        OSError: the store does not answer.
    """
    with _os_errors(uri):
        store = _store(uri)
        found = store.find(uri, maxdepth=None if recursive else 1, detail=True)
        return str(store._strip_protocol(uri)).strip("/"), found


def object_facts(uri: str) -> dict[str, Any]:
    """Return all that a store says of an object; the names of the facts are the store's.

    Raises:
        OSError: there is none, or the store does not answer.
    """
    with _os_errors(uri):
        facts: dict[str, Any] = _store(uri).info(uri)
        return facts


def remove(uri: str) -> None:
    """Delete an object, if it exists."""
    with _os_errors(uri), contextlib.suppress(FileNotFoundError):
        _store(uri).rm_file(uri)


def remove_tree(uri: str) -> None:
    """Delete every object below a prefix."""
    with _os_errors(uri), contextlib.suppress(FileNotFoundError):
        _store(uri).rm(uri, recursive=True)


def _store(uri: str) -> Any:
    import fsspec

    # No listings are kept: other processes write into the same folders.
    return fsspec.filesystem(uri.split("://", 1)[0], use_listings_cache=False)


@contextlib.contextmanager
def _os_errors(uri: str) -> Iterator[None]:
    """Raise the errors of the stores' libraries as OSError; a missing package stays one."""
    try:
        with os_errors(uri):
            yield
    except OSError as error:
        if isinstance(error.__cause__, ImportError):
            raise error.__cause__ from None
        raise
