"""A plan as an engine that takes pictures: launches are cut, filled and put together again."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.artifacts.sidecar import read_sidecar, sidecar_path
from odtk_ray.cli.program import cli
from odtk_ray.engines.local_gpus import Gpu
from odtk_ray.engines.protocol import Outcome
from odtk_ray.errors import ImageError, OdtkError
from odtk_ray.exports.check import runners
from odtk_ray.exports.check.check_export import Unavailable
from odtk_ray.exports.check.runners import PlanRunner, open_source, open_tensorrt_plan
from odtk_ray.exports.tensorrt import export_plan
from odtk_ray.exports.tensorrt.export_plan import open_here
from odtk_ray.records import Detections

SIZE = (64, 96)


class Launches:
    """In the place of a TensorRTEngine of two pictures a launch; a picture's output is its mean."""

    key = "test"

    def __init__(self):
        self.launched = []
        self._means = np.zeros((2, 1, 1, 1), np.float32)

    def launch(self, sources, shape):
        assert shape == SIZE
        self.launched.append([(s.width, s.height, s.size, s.ratio) for s in sources])
        means = [np.float32(source.content.mean()) for source in sources]
        self._means[:] = -1
        self._means[: len(means), 0, 0, 0] = means
        empty = np.zeros((1, 4), np.float32), np.zeros(1, np.int32)
        found = [Detections(np.array([m]), *empty) if m else ImageError("black") for m in means]
        return lambda: [Outcome(one) for one in found]

    def outputs(self):
        return [self._means.copy(), 2 * self._means]


def gray(*means):
    """Pictures of different widths."""
    return [np.full((64, 32 + i, 3), mean, np.uint8) for i, mean in enumerate(means)]


def test_pictures_are_cut_into_launches_and_stay_in_order():
    engine = Launches()
    runner = PlanRunner(engine, 2)
    found = runner.detect(gray(10, 20, 30, 40, 50), SIZE)
    assert [float(one.scores[0]) for one in found] == [10, 20, 30, 40, 50]
    # As they are: the network input is not scaled again.
    assert engine.launched[0] == [(32, 64, (32, 64), 1.0), (33, 64, (33, 64), 1.0)]
    assert [len(launch) for launch in engine.launched] == [2, 2, 1]
    raw = runner.raw(gray(10, 20, 30, 40, 50), SIZE)
    assert [output.ravel().tolist() for output in raw] == [
        [10, 20, 30, 40, 50], [20, 40, 60, 80, 100]
    ]  # fmt: skip


def test_a_picture_that_does_not_arrive_is_a_failure():
    with pytest.raises(OdtkError, match="could not load its pictures onto the GPU: black"):
        PlanRunner(Launches(), 2).detect(gray(10, 0), SIZE)


@pytest.fixture(scope="module")
def plan(plan_models, tmp_path_factory):
    pytest.importorskip("tensorrt_rtx")
    path = str(tmp_path_factory.mktemp("plan") / "m.plan")
    arguments = ["export", str(plan_models / "fp32.onnx"), path, "--compute-capability", "8.9"]
    outcome = CliRunner().invoke(cli, arguments)
    assert outcome.exit_code == 0, outcome.output
    return path


def test_a_plan_runs_on_the_gpu_that_it_was_built_for(plan, monkeypatch):
    """Of a node with several kinds the right one; without it the first one says why not."""
    here = (Gpu("NVIDIA A10G", "8.6"), Gpu("NVIDIA L4", "8.9"))
    opened = []
    monkeypatch.setattr(export_plan, "list_gpus", lambda: here)
    monkeypatch.setattr(
        export_plan, "open_tensorrt_plan", lambda *arguments: opened.append(arguments)
    )
    about = read_sidecar(plan)
    for gpu in (*here, Gpu("NVIDIA L40", "8.9"), None):
        open_here(plan, dataclasses.replace(about, gpu=gpu), 4)
    assert [index for *_, index in opened] == [0, 1, 0, 0]


@pytest.mark.parametrize("name", ["m.onnx", "m.pth"])
def test_what_is_compared_with_leaves_the_number_of_threads(
    plan_models, checkpoint, tmp_path, monkeypatch, name
):
    """Results change with it in the last bits: a calibration comes before and after a check."""
    monkeypatch.setattr(runners, "physical_cores", lambda: 3)
    shutil.copy(plan_models / "fp32.onnx", tmp_path / "m.onnx")
    shutil.copy(checkpoint, tmp_path / "m.pth")
    before = torch.get_num_threads()
    picture = [np.zeros((*SIZE, 3), np.uint8)]
    with open_source(str(tmp_path / name), read_exported(tmp_path / "m.onnx"), 1) as source:
        source.detect(picture, SIZE)
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("model", "sha256", "why"),
    [("none.onnx", "", "cannot use model .*none.onnx .No such file"),
     ("none.pth", "", "cannot use checkpoint .*none.pth .No such file"),
     ("s3://none/model.pth", "", "cannot read s3://none/model.pth"),
     ("m.onnx", "00" * 32, "its hash is"),
     ("m.pth", "", "its model is")],
)  # fmt: skip
def test_a_node_that_does_not_see_the_source_compares_nothing(
    s3, plan_models, rotated_checkpoint, tmp_path, model, sha256, why
):
    shutil.copy(plan_models / "fp32.onnx", tmp_path / "m.onnx")
    shutil.copy(rotated_checkpoint, tmp_path / "m.pth")
    about = read_exported(plan_models / "fp32.onnx")
    about = dataclasses.replace(about, sha256=sha256 or about.sha256)
    path = model if "://" in model else str(tmp_path / model)
    with pytest.raises(Unavailable, match=why), open_source(path, about, 4):
        pass


def test_a_checkpoint_is_not_compared_with_without_torch(checkpoint, plan_models):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from odtk_ray.exports.check.runners import open_source\n"
        "from odtk_ray.exports.check.check_export import Unavailable\n"
        "from odtk_ray.artifacts.exported_model import read_exported\n"
        "try: open_source(sys.argv[1], read_exported(sys.argv[2]), 4).__enter__()\n"
        "except Unavailable as error: print(error)"
    )
    arguments = [sys.executable, "-c", code, checkpoint, plan_models / "fp32.onnx"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert done.stdout == "PyTorch is not installed\n"


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="this machine has a GPU")
def test_without_a_gpu_no_plan_is_opened(plan):
    about = read_sidecar(plan)
    with pytest.raises(Unavailable, match=r"PyCUDA|driver|GPU"), open_tensorrt_plan(plan, about, 4):
        pass
    with pytest.raises(Unavailable, match="this machine has no GPU"):
        open_here(plan, about, 4)


def test_a_plan_of_another_tensorrt_is_not_opened(plan, tmp_path):
    about = dataclasses.replace(read_sidecar(plan), tensorrt="tensorrt_of_old 5.1")
    copy = str(tmp_path / "m.plan")
    Path(copy).write_bytes(Path(plan).read_bytes())
    Path(sidecar_path(copy)).write_text(about.to_json(), encoding="utf-8")
    with pytest.raises(Unavailable, match="tensorrt_of_old"), open_tensorrt_plan(copy, about, 4):
        pass
