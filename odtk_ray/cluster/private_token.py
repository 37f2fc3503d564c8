"""The token of a private Ray: random, and gone when the run ends."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from importlib import import_module
from typing import Any

_MODE, _TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"


@contextlib.contextmanager
def private_token() -> Iterator[None]:
    """Have a Ray that is started in the block ask for a token that nobody else has.

    Left to itself, Ray writes a token to the home folder, which then turns authentication on for
    every cluster that the user starts later, and fails where that folder cannot be written.
    Who turned authentication off by RAY_AUTH_MODE keeps it off. The environment is as before
    after the block.
    """
    before = {name: os.environ.get(name) for name in (_MODE, _TOKEN)}
    if (before[_MODE] or "token").lower() == "token":
        os.environ[_MODE] = "token"
        os.environ[_TOKEN] = secrets.token_hex(32)
        _read_environment_again()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_environment_again()


def _read_environment_again() -> None:
    """Have Ray forget what it read from the environment when it was imported."""
    # Not public. Without it, a process that had imported ray before would not know of the token.
    with contextlib.suppress(ImportError, AttributeError):
        raylet: Any = import_module("ray._raylet")
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
