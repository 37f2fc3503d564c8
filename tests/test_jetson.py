"""A Jetson is told by its release file."""

from __future__ import annotations

import pytest

from odtk_ray import jetson
from odtk_ray.engines.tensorrt_package import import_tensorrt
from odtk_ray.errors import UsageError


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", 36),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", 35),
        ("something else", None),
        ("", None),
        (None, None),
    ],
)
def test_the_release(tmp_path, monkeypatch, text, release):
    path = tmp_path / "nv_tegra_release"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(jetson, "_RELEASE_FILE", path)
    assert jetson.jetson_release() == release


@pytest.mark.parametrize(
    ("text", "hint"), [("# R36 (release)", "python3-libnvinfer"), ("", "pip install tensorrt")]
)
def test_where_tensorrt_comes_from(tmp_path, monkeypatch, text, hint):
    path = tmp_path / "nv_tegra_release"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(jetson, "_RELEASE_FILE", path)
    with pytest.raises(UsageError) as caught:
        import_tensorrt("tensorrt_of_nobody")
    assert hint in caught.value.hint
