"""What no plan can be made of, or is none, is refused in a sentence; nothing is half-written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.errors import UsageError
from odtk_ray.exports.tensorrt.build_plan import PlanOptions

SIZE = (64, 96)


def odtk_ray(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plugin.onnx", "--compute-capability", "8.9"], "takes no plugins"),
        (["plugin.onnx", "--half"], "--half is for checkpoints"),
        (["int8.onnx", "--full-precision"], "the model is INT8 and the plan would be FP32"),
        (["half.onnx", "--full-precision"], "the model is FP16 and the plan would be FP32"),
        (["fp32.onnx", "--half"], "--half is for checkpoints: fp32.onnx was exported for 64x96"),
        (["{checkpoint}", "--size", "64", "--half"], "--half is for ONNX files"),
        (["fp32.onnx", "--int8"], "--int8 needs a checkpoint"),
        (["fp32.onnx", "--size", "96", "96"], "--size is for checkpoints: fp32.onnx was exported "
                                              "for 64x96 in FP32 already"),
        (["fp32.onnx", "--nms", "0.4"], "--nms is for checkpoints"),
        (["int8.onnx", "--calibration-table", "t.json"], "--calibration-table is for checkpoints"),
        (["fp32.onnx", "--check-images", "none"], "none"),
        (["fp32.onnx", "--calibration-annotations", "none"], "needs images"),
        (["{checkpoint}", "--size", "100", "96"], "--size 96 96 or --size 128 96"),
        (["ended.onnx"], "ONNX's own operators of detections compute in FP32"),
        (["{checkpoint}", "--size", "64", "--plugin"], "--plugin needs --with-postprocess"),
        (["{checkpoint}", "--size", "64", "--int8"], "--int8 needs --calibration-images, or the "),
        (["foreign.onnx"], "odtk-ray did not write it"),
        (["swapped.onnx"], "its graph is not the one that its description says"),
        (["empty.onnx"], "it is damaged, or not an ONNX file"),
        (["a.plan"], "cannot export a.plan: it is an exported model"),
        (["fp32.onnx", "--dynamic-batch-opts", "4", "2", "8"], "4 2 8 is not a range"),
        (["fp32.onnx", "--dynamic-batch-opts", "4", "8"], "4 8 has 2 numbers"),
        (["fp32.onnx", "--dynamic-batch-opts", "4"], "4 has 1 number: it is"),
        (["fp32.onnx", "--compute-capability", "9.0"], "does not build for 9.0"),
        (["fp32.onnx", "--compute-capability", "89"], "89 is not valid: it looks like 8.9"),
        (["fp32.onnx", "--int8", "--full-precision"], "contradict each other"),
        (["none.onnx"], "No such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused(
    rtx, checkpoint, plan_models, strangers, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.chdir(plan_models)
    source, *more = (argument.format(checkpoint=checkpoint) for argument in arguments)
    outcome = odtk_ray("export", source, tmp_path / "m.plan", *more)
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.output
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def strangers(plan_models):
    """ONNX files that are not what a plan is made of."""
    model = onnx.load(plan_models / "fp32.onnx")
    facts = list(model.metadata_props)
    del model.metadata_props[:]
    onnx.save(model, plan_models / "foreign.onnx")
    other = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["input_1"], ["score_1"])],
            "other",
            [helper.make_tensor_value_info("input_1", TensorProto.FLOAT, [1, 3, *SIZE])],
            [helper.make_tensor_value_info("score_1", TensorProto.FLOAT, [1, 3, *SIZE])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    other.metadata_props.extend(facts)
    onnx.save(other, plan_models / "swapped.onnx")
    (plan_models / "empty.onnx").write_bytes(b"")


def test_without_tensorrt_the_package_to_install_is_named(
    checkpoint, plan_models, tmp_path, monkeypatch
):
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    for source in (plan_models / "fp32.onnx", checkpoint):
        outcome = odtk_ray("export", source, tmp_path / "m.plan")
        assert outcome.exit_code == 2
        assert "pip install tensorrt" in outcome.output
        assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_plan_and_its_sidecar(rtx, plan_models, tmp_path):
    """The timings are given up; the plan is not there by halves."""
    flags = ("--compute-capability", "8.9")
    path, beside = tmp_path / "m.plan", tmp_path / "m.plan.json"
    path.write_bytes(b"old")
    beside.write_text("old too", encoding="utf-8")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        outcome = odtk_ray("export", plan_models / "fp32.onnx", path, *flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.exit_code == 1
    assert f"cannot write {path}: File too large" in outcome.output
    assert sorted(os.listdir(tmp_path)) == ["m.plan", "m.plan.json"]
    assert (path.read_bytes(), beside.read_text(encoding="utf-8")) == (b"old", "old too")


@pytest.mark.filterwarnings("ignore:.*[Tt]iming cache:DeprecationWarning")
@pytest.mark.parametrize("cache", ["none/cache", "."])
def test_timings_that_cannot_be_kept_cost_no_plan(rtx, plan_models, tmp_path, cache):
    flags = ("--compute-capability", "8.9", "--timing-cache", tmp_path / cache)
    outcome = odtk_ray("export", plan_models / "fp32.onnx", tmp_path / "m.plan", *flags)
    assert outcome.exit_code == 0, outcome.output
    assert "timings are not saved: cannot write" in outcome.stderr
    assert read_sidecar(str(tmp_path / "m.plan")).capabilities == ("8.9",)


def test_a_checkpoint_needs_torch_to_become_a_plan(rtx, checkpoint, tmp_path):
    code = "import sys; sys.modules['torch'] = None; from odtk_ray.cli.process import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "export", checkpoint, tmp_path / "m.plan", "--size", "64"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert "a plan of a checkpoint needs PyTorch" in run.stderr
    assert "export it to ONNX where PyTorch is" in run.stderr
    run = subprocess.run(
        [sys.executable, "-c", code, "info", checkpoint], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 2
    error, hint = run.stderr.splitlines()
    assert error == "error: this needs PyTorch, which is not installed"
    assert hint.endswith("; or pip install torch")


def test_damaged_plans_are_refused(rtx, plan_models, tmp_path):
    plan = tmp_path / "m.plan"
    outcome = odtk_ray("export", plan_models / "fp32.onnx", plan, "--compute-capability", "8.9")
    assert outcome.exit_code == 0, outcome.output
    beside = Path(f"{plan}.json")
    content, text = plan.read_bytes(), beside.read_text(encoding="utf-8")
    facts = json.loads(text)

    def refused(message):
        with pytest.raises(UsageError, match=message):
            read_sidecar(str(plan))

    plan.write_bytes(content[:-1])
    refused("bytes and should have")
    plan.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused("it is not the plan")
    plan.write_bytes(content)
    for broken in ("{", "[]", json.dumps(facts | {"batches": [1, 2, 64]}), "{}"):
        beside.write_text(broken, encoding="utf-8")
        refused("is damaged")
    beside.write_text(json.dumps(facts | {"format": 2}), encoding="utf-8")
    refused("its format is 2")
    beside.unlink()
    refused("No such file")
    beside.write_text(text, encoding="utf-8")
    assert read_sidecar(str(plan)).identity == facts["identity"]


@pytest.mark.parametrize("batches", [(0, 1, 1), (2, 1, 4), (1, 5, 4)])
def test_batches_rise(batches):
    with pytest.raises(UsageError, match="is not a range"):
        PlanOptions(batches=batches)
