"""odtk_video with stand-ins of CUDA and TensorRT, where OpenCV is installed."""

import os

import numpy as np
import pytest
from fakes import Programs
from PIL import Image


@pytest.fixture
def tool(programs):
    if not (programs.folder / "odtk_video").exists():
        pytest.skip("OpenCV is not installed")
    return programs


@pytest.fixture
def video(tmp_path):
    """Five numbered pictures, which OpenCV reads as a video; nothing else is in their folder."""
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(7)
    for number in range(5):
        pixels = rng.integers(0, 256, (120, 160, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.jpg")
    return folder / "%02d.jpg"


@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_every_frame_is_written(tool, plan, video, tmp_path, ending):
    first, second = tmp_path / f"first.{ending}", tmp_path / f"second.{ending}"
    assert tool.ok("odtk_video", plan, video, first) == f"wrote {first}: 5 frames\n"
    assert tool.ok("odtk_video", plan, first, second) == f"wrote {second}: 5 frames\n"
    assert sorted(os.listdir(tmp_path)) == [first.name, "frames", second.name]


def test_a_full_disk_leaves_no_video(tool, plan, video, tmp_path):
    limited = Programs(tool.folder, ("env", "--ignore-signal=XFSZ", "prlimit", "--fsize=20000"))
    said = limited.fails(1, "odtk_video", plan, video, tmp_path / "x.mp4")
    assert "only a part of it was written" in said
    assert os.listdir(tmp_path) == ["frames"]


def test_names_that_cannot_be_used(tool, plan, video, tmp_path):
    def said(code, source, target):
        return tool.fails(code, "odtk_video", plan, source, target)

    (tmp_path / "folder.mp4").mkdir()
    assert "its name must end in .mp4" in said(2, video, tmp_path / "x.jpg")
    assert "No such file or directory" in said(1, video, tmp_path / "no" / "x.mp4")
    assert "it is a folder" in said(1, video, tmp_path / "folder.mp4")
    assert "cannot read the video" in said(2, tmp_path / "none.mp4", tmp_path / "x.mp4")
    source = tmp_path / "source.mp4"
    source.write_bytes(b"kept")
    assert "would replace" in said(2, source, source)
    assert source.read_bytes() == b"kept"
    assert sorted(os.listdir(tmp_path)) == ["folder.mp4", "frames", "source.mp4"]
