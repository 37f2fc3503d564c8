"""What `make test` leaves to `make test-all`: long cases, and most of Hypothesis' examples."""

from __future__ import annotations

import pytest
from hypothesis import settings


def long_case(*values):
    """A case of a table that only `make test-all` takes."""
    return pytest.param(*values, marks=pytest.mark.long)


def examples(count: int, **more) -> settings:
    """Settings for so many examples with --all, and for a share of them otherwise."""
    return settings(max_examples=count * settings().max_examples // 100, **more)
