"""The numpy decoder of docs/onnx.md, as it stands there, against `OnnxRuntimeEngine`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic import picture

from odtk_ray.cli import cli
from odtk_ray.config import Preprocessing
from odtk_ray.data.images import load_picture
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
from odtk_ray.export.check import match
from odtk_ray.model.exported import read_exported
from odtk_ray.records import Detections

TEXT = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


# Pictures that nearly fill the input: in wide padding thousands of scores are equal up to rounding.
@pytest.mark.parametrize(
    ("size", "shape"), [((200, 150), ("160", "224")), ((150, 222), ("224", "160"))]
)
def test_the_numpy_decoder(checkpoint, tmp_path, monkeypatch, size, shape):
    monkeypatch.chdir(tmp_path)
    arguments = ["export", str(checkpoint), "model.onnx", "--size", *shape]
    outcome = CliRunner().invoke(cli, [*arguments, "--threshold", "0.2", "--top-n", "60"])
    assert outcome.exit_code == 0, outcome.output
    picture(3, *size).save("photo.png")
    space = {}
    exec(compile(PROGRAM, "docs/onnx.md", "exec"), space)

    about = read_exported("model.onnx")
    loaded = load_picture(Path("photo.png").read_bytes(), Preprocessing(fit=about.size))
    engine = OnnxRuntimeEngine("model.onnx", about.post, launch_batch=1)
    (found,) = engine.detect([loaded.pixels], about.size)
    rows = np.array(space["detections"], np.float32)
    assert len(rows) == len(found) > 10
    np.testing.assert_allclose(rows[:, 0], found.scores, atol=1e-5)
    boxes = rows[:, 2:] * np.float32(loaded.ratio)
    decoded = Detections(rows[:, 0], boxes, rows[:, 1].astype(np.int32))
    matched, counted = match(decoded, found, iou=0.99, score=0)
    assert matched >= counted - 2  # numpy normalises in float64: the last place may go to another


def test_the_decoder_stays_short():
    (loop,) = re.findall(r"^outputs.*", PROGRAM, re.MULTILINE | re.DOTALL)
    assert len([line for line in loop.splitlines() if line.strip()]) <= 30


def test_every_fact_is_named():
    from synthetic import ABOUT

    for key in ABOUT.to_metadata():
        assert f"`{key.removeprefix('odtk_ray.')}`" in TEXT, key
