"""`odtk-ray export --triton`: folders of a model repository, of checkpoints and exported models."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.artifacts.sidecar import Sidecar, read_sidecar, sidecar_path
from odtk_ray.cli.program import cli

FILES = ["1", "config.pbtxt", "labels.txt"]


def odtk_ray(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_checkpoint_becomes_an_onnx_file_that_ends_in_detections(checkpoint, tmp_path):
    repository = tmp_path / "models"
    outcome = odtk_ray("export", checkpoint, repository, "--triton", "m", "--size", 64,
                       "--detections", 7, "--nms", 0.4)  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    wrote, layers, checked, after = outcome.stdout.splitlines()
    assert wrote.startswith(f"wrote {repository / 'm'}: model.onnx (")
    assert wrote.endswith("ResNet18FPN, 64x64, FP32, batches of up to 16")
    assert "convolutions" in layers
    assert checked.startswith("checked against PyTorch")
    assert after == f"next: tritonserver --model-repository {repository}"
    assert os.listdir(repository) == ["m"]
    assert sorted(os.listdir(repository / "m")) == FILES
    about = read_exported(repository / "m" / "1" / "model.onnx")
    assert (about.outputs, about.post.detections, about.post.nms) == ("detections", 7, 0.4)
    assert "dims: [7, 4]" in (repository / "m" / "config.pbtxt").read_text("utf-8")
    assert (repository / "m" / "labels.txt").read_text("utf-8") == "0\n1\n2\n"


def test_an_onnx_file_is_copied(plan_models, tmp_path):
    outcome = odtk_ray("export", plan_models / "ended.onnx", tmp_path, "--triton", "m")
    assert outcome.exit_code == 0, outcome.output
    copied = (tmp_path / "m" / "1" / "model.onnx").read_bytes()
    assert copied == (plan_models / "ended.onnx").read_bytes()


def write_plan(path, source, batches=(1, 2, 4), tensorrt="tensorrt 10.3.0"):
    """A plan that nothing can run, with the sidecar that says it is a plan of this ONNX file."""
    content = b"a plan"
    about = Sidecar(
        model=read_exported(source),
        batches=batches,
        tensorrt=tensorrt,
        gpu=("H100", "9.0"),
        capabilities=(),
        plan_sha256=hashlib.sha256(content).hexdigest(),
        plan_bytes=len(content),
    )
    path.write_bytes(content)
    Path(sidecar_path(str(path))).write_text(about.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["ended", "plugin"])
def test_a_plan_is_copied_with_its_sidecar(plan_models, tmp_path, name):
    plan = write_plan(tmp_path / "x.plan", plan_models / f"{name}.onnx")
    outcome = odtk_ray("export", plan, tmp_path / "models", "--triton", "m")
    assert outcome.exit_code == 0, outcome.output
    assert "model.plan (0.0 MB), ResNet18FPN, 64x96, FP32, batches of up to 4" in outcome.stdout
    folder = tmp_path / "models" / "m"
    assert sorted(os.listdir(folder / "1")) == ["model.plan", "model.plan.json"]
    assert read_sidecar(str(folder / "1" / "model.plan")) == read_sidecar(str(plan))
    config = (folder / "config.pbtxt").read_text("utf-8")
    assert 'backend: "tensorrt"\nmax_batch_size: 4\n' in config


@pytest.mark.parametrize(("source", "options", "message"), [
    ("fp32", {}, "it has raw outputs"),
    ("ended", {"batches": (2, 2, 4)}, "a request may have one image"),
    ("ended", {"tensorrt": "tensorrt_rtx 1.7.1"}, "which Triton's backend does not load"),
])  # fmt: skip
def test_plans_that_triton_cannot_serve_are_refused(
    plan_models, tmp_path, source, options, message
):
    plan = write_plan(tmp_path / "x.plan", plan_models / f"{source}.onnx", **options)
    repository = tmp_path / "models"
    repository.mkdir()
    outcome = odtk_ray("export", plan, repository, "--triton", "m")
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.output
    assert os.listdir(repository) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "models", "--triton", "a/b"], "--triton a/b is no name for a model"),
        (["{model}", "models", "--triton", ".."], "is no name for a model"),
        (["{model}", "models", "--triton", "m", "--half"], "--half and --triton contradict"),
        (["{model}", "models", "--triton", "m", "--gpu-type", "all"], "contradict each other"),
        (["{model}", "models/m.onnx", "--triton", "m"], "it is a local folder, of many models"),
        (["{model}", "s3://bucket/models", "--triton", "m"], "it is a local folder"),
        (["{model}", "moels/deep", "--triton", "m"], "did you mean"),
        (["{model}", "file", "--triton", "m"], "it is a file"),
        (["{model}", "models", "--triton", "old"], "it is there already"),
        (["none.pth", "models", "--triton", "m"], "No such file"),
        (["{plans}/fp32.onnx", "models", "--triton", "m"], "it has raw outputs"),
        (["{plans}/plugin.onnx", "models", "--triton", "m"], "by a plugin of TensorRT"),
        (["{plans}/ended.onnx", "models", "--triton", "m", "--nms", "0.3"], "--nms is for check"),
        (["none.plan", "models", "--triton", "m"], "No such file"),
    ],
)
def test_wrong_usage_writes_nothing(
    checkpoint, plan_models, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "old").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    given = [a.format(model=checkpoint, plans=plan_models) for a in arguments]
    outcome = odtk_ray("export", *given)
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.output
    assert "Traceback" not in outcome.output
    assert sorted(os.listdir(tmp_path)) == ["file", "models"]
    assert os.listdir(tmp_path / "models") == ["old"]
    assert os.listdir(tmp_path / "models" / "old") == []


def test_an_export_that_fails_leaves_no_folder(plan_models, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    shutil.copy(plan_models / "ended.onnx", damaged)
    damaged.write_bytes(damaged.read_bytes()[:1000])
    repository = tmp_path / "models"
    repository.mkdir()
    outcome = odtk_ray("export", damaged, repository, "--triton", "m")
    assert outcome.exit_code == 2, outcome.output
    assert os.listdir(repository) == []
