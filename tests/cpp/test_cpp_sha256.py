"""The hashes of files and descriptions."""

import hashlib

import numpy as np
import pytest


@pytest.mark.parametrize("step", [1, 63, 64, 1000])
def test_hashes_are_hashlibs(units, tmp_path, step):
    content = np.random.default_rng(step).bytes(1000)
    # All lengths around the ends of one and of two blocks, where the padding differs.
    parts = [content[:n] for n in (*range(130), 1000)]
    paths = [tmp_path / f"{len(part)}" for part in parts]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    printed = units("sha256", step, *paths).decode().split()
    assert printed == [hashlib.sha256(part).hexdigest() for part in parts]
