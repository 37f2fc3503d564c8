"""What of nvImageCodec's loading can be seen without a GPU."""

from __future__ import annotations

import ctypes
import os
import re

import pytest

from odtk_ray.images.nvimagecodec import hold_lines


def test_only_matching_lines_are_held_back(capfd):
    with hold_lines(re.compile(rb"tiff", re.IGNORECASE)):
        os.write(2, b"Failed to load nvTIFF\nsomething else\n")
        ctypes.CDLL(None).dprintf(2, b"from C: libtiff is missing\nfrom C\n")
    os.write(2, b"a tiff afterwards\n")
    assert capfd.readouterr().err == "something else\nfrom C\na tiff afterwards\n"


def test_lines_are_shown_when_the_block_raises(capfd):
    def fail():
        with hold_lines(re.compile(b"tiff")):
            os.write(2, b"the reason\n")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert capfd.readouterr().err == "the reason\n"
