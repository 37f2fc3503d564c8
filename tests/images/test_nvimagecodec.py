"""What of nvImageCodec's loading can be seen without a GPU."""

from __future__ import annotations

import ctypes
import os
import re
import sys

import pytest

from odtk_ray import jetson
from odtk_ray.images.nvimagecodec import DecoderUnavailable, hold_lines, import_codec


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


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081", "nvidia-nvimgcodec-tegra-cu12"),
        ("# R38 (release), REVISION: 2.0, GCID: 41844464", "nvidia-nvimgcodec-cu13[nvjpeg]"),
        (None, "nvidia-nvimgcodec-cu13[nvjpeg]"),
    ],
)
def test_the_package_to_install_is_that_of_the_machine(tmp_path, monkeypatch, text, package):
    """JetPack 6, JetPack 7, and no Jetson."""
    release = tmp_path / "nv_tegra_release"
    if text is not None:
        release.write_text(text, encoding="utf-8")
    monkeypatch.setattr(jetson, "_RELEASE_FILE", release)
    monkeypatch.setitem(sys.modules, "nvidia", None)
    with pytest.raises(DecoderUnavailable, match=re.escape(f"pip install '{package}'")):
        import_codec()
