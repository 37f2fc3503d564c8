"""odtk_build with a stand-in of TensorRT, whose plans say what the builder was told."""

import hashlib
import os
import signal
import subprocess
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner
from fakes import Programs, build_programs

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.exports.tensorrt.build_plan import PlanOptions
from odtk_ray.exports.tensorrt.export_plan import describe_built

FP16, INT8, TF32, FALLBACK = 1, 2, 4, 8  # flags of the stand-in's builder


@pytest.fixture(scope="session")
def programs11():
    return Programs(build_programs(11))


def relabelled(path, target, **facts):
    """A copy of an ONNX file whose description says something else."""
    import json

    import onnx

    model = onnx.load(path)
    for entry in model.metadata_props:
        name = entry.key.removeprefix("odtk_ray.")
        if name in facts:
            entry.value = json.dumps(facts[name])
    onnx.save(model, target)
    return target


@pytest.fixture
def int8_graph(graph, tmp_path):
    return relabelled(graph, tmp_path / "int8.onnx", precision="int8")


def plan_lines(path):
    """What the builder was told, by name."""
    rows = (line.rpartition(" ") if "batches" not in line else line.partition(" ")
            for line in path.read_text(encoding="utf-8").splitlines())  # fmt: skip
    return {name: value for name, _, value in rows}


def test_writes_plan_and_the_sidecar_that_python_writes(programs, graph, tmp_path):
    plan = tmp_path / "model.plan"
    flags = "--batches", 1, 2, 4, "--workspace", 64
    printed = programs.ok("odtk_build", graph, plan, *flags)

    options = PlanOptions(batches=(1, 2, 4), workspace=64 << 20)
    about = describe_built(read_exported(graph), options, "tensorrt 8.5.2", ("Xavier", "7.2"))
    content = plan.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    about = replace(about, plan_sha256=sha256, plan_bytes=len(content))
    assert (tmp_path / "model.plan.json").read_text(encoding="utf-8") == about.to_json()
    assert read_sidecar(str(plan)) == about
    assert plan_lines(plan) == {
        "name": about.identity,
        "network flags": "1",  # EXPLICIT_BATCH
        "flags": str(FP16 | TF32),
        "tactics": "8",  # of 15, without cuBLAS, cuBLASLt and cuDNN
        "workspace": str(64 << 20),
        "dla": "-1",
        "batches": "1 2 4",
        "resizes dequantised": "values",
    }
    assert f"wrote {plan}" in printed
    assert "FP16, batch 1 to 4, tuned for 2" in printed
    assert "for Xavier 7.2, with tensorrt 8.5.2" in printed


def test_precisions(programs, graph, int8_graph, tmp_path):
    plan = tmp_path / "x.plan"
    programs.ok("odtk_build", graph, plan, "--fp32")
    assert plan_lines(plan)["flags"] == "0"
    assert read_sidecar(str(plan)).model.precision == "fp32"
    programs.ok("odtk_build", int8_graph, plan)
    assert plan_lines(plan)["flags"] == str(FP16 | INT8 | TF32)
    assert plan_lines(plan)["resizes"] == "floats"  # TensorRT 8 has no INT8 resize
    assert read_sidecar(str(plan)).model.precision == "int8"


def test_dla(programs, graph, tmp_path):
    plan = tmp_path / "x.plan"
    programs.ok("odtk_build", graph, plan, "--dla", 1, "--batches", 2, 2, 2)
    assert plan_lines(plan)["dla"] == "1"
    assert plan_lines(plan)["flags"] == str(FP16 | TF32 | FALLBACK)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batches", "4", "2", "8"], "error: --batches 4 2 8 is not a range: it must be MIN OPT"),
        (["--batches", "1", "2"], "error: --batches needs MIN OPT MAX"),
        (["--fp16", "--fp32"], "error: --fp16 and --fp32 exclude each other"),
        (["--worksapce", "3"], "hint: did you mean --workspace?"),
        (["--workspace", "much"], "error: --workspace much is not valid: it must be a whole numb"),
        (["--dla", "0"], "hint: give the same number three times"),
        (["--dla", "5", "--batches", "1", "1", "1"], "error: there is no DLA core 5"),
        (["more.onnx"], "error: give an ONNX file and a name for the plan"),
    ],
)
def test_wrong_command_lines(programs, graph, tmp_path, flags, message):
    said = programs.fails(2, "odtk_build", graph, tmp_path / "x.plan", *flags)
    assert message in said
    assert os.listdir(tmp_path) == []


def test_wrong_models(programs, programs11, graph, int8_graph, tmp_path):
    plan = tmp_path / "x.plan"
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")

    def said(tool, model, *flags):
        return tool.fails(2, "odtk_build", model, plan, *flags)

    assert "No such file or directory" in said(programs, tmp_path / "none.onnx")
    assert "it is damaged, or not an ONNX file" in said(programs, junk)
    assert "INT8 is decided when the checkpoint is exported" in said(programs, int8_graph, "--fp32")
    dla = "--dla", 0, "--batches", 1, 1, 1
    assert "DLA does not run this INT8 model" in said(programs, int8_graph, *dla)
    detections = relabelled(graph, tmp_path / "d.onnx", outputs="detections")
    assert programs.run("odtk_build", detections, plan).returncode == 2
    assert "takes the types from the ONNX file" in said(programs11, graph)
    assert "its name does not end in .plan" in programs.fails(2, "odtk_build", graph, junk)
    assert not plan.exists()


@pytest.mark.parametrize(("flags", "precision"), [([], "fp32"), (["--plugin"], "fp16")])
def test_plans_that_end_in_detections_are_for_servers(
    programs, checkpoint, photos, tmp_path, flags, precision
):
    model, plan = tmp_path / "m.onnx", tmp_path / "m.plan"
    arguments = ["export", checkpoint, model, "--size", 64, 96, "--with-postprocess", *flags]
    assert CliRunner().invoke(cli, list(map(str, arguments))).exit_code == 0
    if not flags:
        assert "compute in FP32" in programs.fails(2, "odtk_build", model, plan)
    printed = programs.ok("odtk_build", model, plan, f"--{precision}")
    assert "ends in detections, for trtexec" in printed
    about = read_sidecar(str(plan))
    assert about.model == replace(read_exported(model), precision=precision)
    assert "it ends in detections" in programs.fails(2, "odtk_infer", plan, photos)


def test_tensorrt_11_builds_what_the_file_says(programs11, graph, tmp_path):
    plan = tmp_path / "x.plan"
    said = programs11.run("odtk_build", graph, plan, "--fp32")
    assert said.returncode == 0, said.stderr
    assert said.stderr.splitlines() == [
        "odtk_build: building for Xavier with tensorrt 11.1.0: this takes minutes",
        "odtk_build: Building",  # a phase of TensorRT
    ]
    assert plan_lines(plan)["network flags"] == "0"
    assert plan_lines(plan)["flags"] == "0"
    assert read_sidecar(str(plan)).tensorrt == "tensorrt 11.1.0"


@pytest.mark.parametrize(
    ("fakes", "code", "message"),
    [
        ({"FAKE_FAIL": "parse"}, 1, "error: TensorRT cannot read the model: an operator is not kn"),
        ({"FAKE_FAIL": "build"}, 1, "error: TensorRT cannot build the plan: no implementation of"),
        ({"FAKE_GPU": "none"}, 2, "error: there is no GPU: no CUDA-capable device is detected"),
        ({"FAKE_GPU": "TX2 6.2"}, 2, "error: TX2 is too old: it has compute capability 6.2"),
    ],
)
def test_a_build_that_fails_leaves_nothing(programs, graph, tmp_path, fakes, code, message):
    said = programs.fails(code, "odtk_build", graph, tmp_path / "x.plan", fakes=fakes)
    assert message in said
    assert os.listdir(tmp_path) == []


def test_what_is_read_is_not_replaced(programs, graph, tmp_path):
    model = tmp_path / "model.plan"
    model.write_bytes(graph.read_bytes())
    before = model.read_bytes()
    (tmp_path / "link.plan").symlink_to(model)
    beside = tmp_path / "x.plan.json"
    beside.hardlink_to(model)
    for target in ("model.plan", "link.plan", "x.plan"):
        said = programs.fails(2, "odtk_build", model, tmp_path / target)
        assert "would replace" in said
    flags = "--timing-cache", model
    assert "would replace" in programs.fails(2, "odtk_build", model, tmp_path / "y.plan", *flags)
    assert model.read_bytes() == before


def test_a_plan_that_cannot_be_written(programs, graph, tmp_path):
    (tmp_path / "x.plan").mkdir()
    said = programs.fails(2, "odtk_build", graph, tmp_path / "x.plan")
    assert f"error: cannot write {tmp_path}/x.plan: it is a folder" in said
    said = programs.fails(2, "odtk_build", graph, tmp_path / "no" / "x.plan")
    assert "No such file or directory" in said
    assert os.listdir(tmp_path) == ["x.plan"]


def test_timings_are_kept(programs, graph, tmp_path):
    cache, plan = tmp_path / "timings", tmp_path / "x.plan"
    flags = graph, plan, "--timing-cache", cache
    programs.ok("odtk_build", *flags)
    assert cache.read_text(encoding="utf-8") == "timed\n"
    programs.ok("odtk_build", *flags)
    assert cache.read_text(encoding="utf-8") == "timed\ntimed\n"
    cache.write_text("of another GPU", encoding="utf-8")
    done = programs.run("odtk_build", *flags)
    assert done.returncode == 0
    assert f"timings are not saved: {cache} has none of this GPU and version" in done.stderr
    assert cache.read_text(encoding="utf-8") == "of another GPU"
    done = programs.run("odtk_build", graph, plan, "--timing-cache", tmp_path / "no" / "folder")
    assert done.returncode == 0  # the plan took minutes
    assert "timings are not saved: cannot write" in done.stderr


@pytest.mark.parametrize("version", ["programs", "programs11"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_builds_leave_nothing(request, graph, tmp_path, version, number):
    tool, building = request.getfixturevalue(version), tmp_path / "building"
    command = tool.command("odtk_build", graph, tmp_path / "x.plan", "--fp32")
    fakes = os.environ | {"FAKE_BUILD": os.fspath(building)}
    with subprocess.Popen(command, env=fakes, stderr=subprocess.PIPE, text=True) as process:
        while not building.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate()[1]
    assert process.returncode == 1
    assert said.endswith("stopped\n")
    assert os.listdir(tmp_path) == ["building"]


def test_nohup_is_respected(programs, graph, tmp_path):
    building = tmp_path / "building"
    command = ["nohup", *programs.command("odtk_build", graph, tmp_path / "x.plan")]
    fakes = os.environ | {"FAKE_BUILD": os.fspath(building)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=fakes, **pipes) as process:
        while not building.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        building.unlink()
    assert process.returncode == 0
    assert (tmp_path / "x.plan").exists()


def test_help(programs):
    printed = programs.ok("odtk_build", "--help")
    assert printed.startswith("usage: odtk_build [OPTIONS] MODEL.onnx OUT.plan\n")
    assert "--batches MIN OPT MAX" in printed
