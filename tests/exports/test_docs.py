"""The numpy decoder of docs/export_onnx.md, as it stands there, against `OnnxRuntimeEngine`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic import picture

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.cli.program import cli
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
from odtk_ray.exports.check.compare_detections import match
from odtk_ray.images.decode_image import load_picture
from odtk_ray.records import Detections
from odtk_ray.settings import Preprocessing

TEXT = (Path(__file__).parents[2] / "docs" / "export_onnx.md").read_text(encoding="utf-8")
DECODING, ROTATED_IOU, SUPPRESSION = re.findall(
    r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL
)


def run(onnx, folder, monkeypatch, size, shape, *flags):
    """The program's detections of a picture, and the engine's in the same pixels."""
    monkeypatch.chdir(folder)
    arguments = ["export", str(onnx), "model.onnx", "--size", *shape, *flags]
    outcome = CliRunner().invoke(cli, [*arguments, "--threshold", "0.2", "--top-n", "60"])
    assert outcome.exit_code == 0, outcome.output
    picture(3, *size).save("photo.png")
    about = read_exported("model.onnx")
    space = {}
    middle = ROTATED_IOU if about.rotated else ""
    exec(compile(DECODING + middle + SUPPRESSION, "docs/export_onnx.md", "exec"), space)

    loaded = load_picture(Path("photo.png").read_bytes(), Preprocessing(fit=about.size))
    engine = OnnxRuntimeEngine("model.onnx", about.post, launch_batch=1)
    (found,) = engine.detect([loaded.pixels], about.size)
    rows = np.array(space["detections"], np.float32)
    assert len(rows) == len(found) > 10
    np.testing.assert_allclose(rows[:, 0], found.scores, atol=1e-5)
    boxes = rows[:, 2:6] * np.float32(loaded.ratio)
    if about.rotated:
        boxes = np.hstack([boxes, np.sin(rows[:, 6:]), np.cos(rows[:, 6:])])
    return Detections(rows[:, 0], boxes, rows[:, 1].astype(np.int32)), found


# Pictures that nearly fill the input: in wide padding thousands of scores are equal up to rounding.
SIZES = [((200, 150), ("160", "224")), ((150, 222), ("224", "160"))]


@pytest.mark.parametrize("kind", ["checkpoint", "ranked_rotated"])
@pytest.mark.parametrize(("size", "shape"), SIZES)
def test_the_numpy_decoder(request, kind, tmp_path, monkeypatch, size, shape):
    checkpoint = request.getfixturevalue(kind)
    decoded, found = run(checkpoint, tmp_path, monkeypatch, size, shape)
    matched, counted = match(decoded, found, iou=0.99, score=0)
    assert matched >= counted - 2  # numpy normalises in float64: the last place may go to another


def test_the_numpy_decoder_compares_angles_as_odtk_does(ranked_rotated, tmp_path, monkeypatch):
    flags = ("--rotated-nms", "odtk", "--nms", "0.2")
    decoded, found = run(ranked_rotated, tmp_path, monkeypatch, *SIZES[0], *flags)
    matched, counted = match(decoded, found, iou=0.99, score=0)
    assert matched >= counted - 2


def test_the_decoder_stays_short():
    (loop,) = re.findall(r"^outputs.*", DECODING + SUPPRESSION, re.MULTILINE | re.DOTALL)
    assert len([line for line in loop.splitlines() if line.strip()]) <= 30


def test_every_fact_is_named():
    from synthetic import ABOUT

    for key in ABOUT.to_metadata():
        assert f"`{key.removeprefix('odtk_ray.')}`" in TEXT, key
