"""Command lines that cannot be run: one style, and hints at what was meant."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from odtk_ray.cli.program import cli


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a model, images and annotations; what they hold is never read."""
    (tmp_path / "photos").mkdir()
    for name in ("model.pth", "instances.json", "photos/a.jpg", "photos/b.jpg"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)


def said(line):
    """The error, and the hint or ""; the exit code must be that of wrong usage."""
    outcome = CliRunner().invoke(cli, line.split(), prog_name="odtk-ray")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    error, *hints = outcome.stderr.splitlines()
    assert error.startswith("error: ")
    assert all(hint.startswith("  hint: ") for hint in hints)
    assert len(hints) <= 1
    return error.removeprefix("error: "), "".join(hints).removeprefix("  hint: ")


INFER = "infer model.pth --images photos "


@pytest.mark.parametrize(
    ("line", "error", "hint"),
    [
        ("infer", "MODEL is missing", "the command is odtk-ray infer MODEL [OPTIONS]"),
        ("export model.pth", "OUTPUT is missing",
         "the command is odtk-ray export MODEL OUTPUT [OPTIONS]"),
        (INFER + "--batch x", "--batch cannot be x: it takes a whole number or auto", ""),
        (INFER + "--exif aply", "--exif cannot be aply: it takes ignore or apply",
         "did you mean apply?"),
        ("convert a.json b.json --to x",
         "--to cannot be x: it takes odtk, opencv, le90 or coco", ""),
        (INFER + "--threshold", "--threshold needs a value", ""),
        (INFER + "--quiet=yes", "--quiet does not take a value", ""),
        ("info model.pth other.pth", "odtk-ray info does not take other.pth",
         "the command is odtk-ray info MODEL [OPTIONS]"),
        ("--versoin", "there is no option --versoin", "did you mean --version?"),
        ("infre model.pth", "there is no command infre", "did you mean infer?"),
        ("xyz", "there is no command xyz",
         "there are bench, compare, completion, convert, demo, doctor, evaluate, export, infer, "
         "info, status"),
        ("model.pth", "there is no command model.pth", "odtk-ray infer model.pth --images DIR"),
        ("photos", "there is no command photos", "odtk-ray infer MODEL --images photos"),
        ("model.pth --images photos", "there is no command model.pth",
         "odtk-ray infer model.pth --images photos"),
    ],
)  # fmt: skip
def test_wrong_usage(line, error, hint):
    assert said(line) == (error, hint)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--imags", "did you mean --images?"),
        ("--max_size", "did you mean --max-size?"),
        ("--zzz", "odtk-ray infer --help lists the options"),
        ("--conf", "--conf is --threshold here: scores must be greater than it"),
        ("--source", "--source is --images here: a folder, file, glob, list or URI"),
        ("--imgsz", "--imgsz is --resize here: the short side in pixels; --max-size limits the "
         "long one"),
        ("--score_thr", "--score_thr is --threshold here: scores must be greater than it"),
        ("--batch-size", "--batch-size is --batch here: images at once, by all workers"),
        ("--weights", "the model has no option: odtk-ray infer MODEL"),
        ("--half", "leave it out: FP16 is the default on GPUs"),
        ("--compile", "leave it out: networks are as fast without it"),
        ("--backbone", "it belongs to training; the checkpoint says what model it is"),
        ("-o", "-o is --output here: files to write, their format by name"),
    ],
)  # fmt: skip
def test_unknown_options_of_infer(option, hint):
    assert said(f"{INFER} {option} 1") == (f"there is no option {option}", hint)


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--imgsz", "--imgsz is --size here: height and width of the network input in pixels"),
        ("--batch", "--batch is --dynamic-batch-opts here: the batches MIN OPT MAX of a plan"),
        ("--fp16", "--fp16 is --half here: for ONNX files; plans are FP16 anyway"),
        ("--saveEngine", "the name says the format: odtk-ray export MODEL OUTPUT, which ends in "
         ".onnx or .plan"),
    ],
)  # fmt: skip
def test_unknown_options_of_export(option, hint):
    assert said(f"export model.pth model.plan {option} 1") == (f"there is no option {option}", hint)


@pytest.mark.parametrize(
    ("rest", "hint"),
    [
        ("photos", "odtk-ray infer model.pth --images photos"),
        ("photos --threshold 0.3", "odtk-ray infer model.pth --images photos --threshold 0.3"),
        ("source=photos conf=0.3", "odtk-ray infer model.pth --images photos --threshold 0.3"),
        ("photos max_size=640", "odtk-ray infer model.pth --images photos --max-size 640"),
        ("photos/a.jpg photos/b.jpg", "--images takes one value: a folder, or a pattern in quotes, "
         "such as 'photos/*.jpg'"),
        ("--images photos/a.jpg photos/b.jpg", "--images takes one value: a folder, or a pattern "
         "in quotes, such as 'photos/*.jpg'"),
        ("mode=predict", "the command is odtk-ray infer MODEL [OPTIONS]"),
    ],
)  # fmt: skip
def test_arguments_that_no_parameter_takes(rest, hint):
    error, found = said(f"infer model.pth {rest}")
    assert error.startswith("odtk-ray infer does not take ")
    assert found == hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("predict", "predict is `odtk-ray infer` here"),
        ("val", "val is `odtk-ray infer MODEL --images DIR --annotations FILE` here"),
        ("onnx", "onnx is `odtk-ray export` here"),
    ],
)
def test_commands_of_other_tools(name, hint):
    assert said(f"{name} model.pth --anything") == (f"there is no command {name}", hint)


def test_training_is_elsewhere():
    error, hint = said("train model.pth --annotations instances.json --backbone ResNet50FPN")
    assert error == "odtk-ray does not train: it runs, scores and exports models"
    assert hint.startswith("train with ODTK (https://github.com/NVIDIA/retinanet-examples)")


@pytest.mark.parametrize("command", ["infer model.engine --images photos", "info model.engine",
                                     "export model.engine model.plan"])  # fmt: skip
def test_plans_of_other_tools(command):
    error, hint = said(command)
    assert error.startswith("cannot use model.engine: a TensorRT plan made elsewhere")
    assert "odtk-ray export model.onnx model.plan" in hint


def test_models_of_other_frameworks():
    assert said("infer model.tflite")[0].startswith("cannot use model.tflite: odtk-ray runs ODTK's")
    assert said("export model.pth model.trt") == (
        "cannot export to model.trt: TensorRT plans end in .plan here", "write model.plan"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("infer modle.pth --images photos", "model.pth"),
        ("info modle.pth", "model.pth"),
        ("infer model.pth --images foto", "photos"),
        ("infer model.pth --images photos --annotations instance.json", "instances.json"),
        ("infer model.pth --images photos --output found.jsn", ".json"),
        ("infer model.pth --images photos --output photo/found.json", "photos"),
        ("infer completely_different.pth --images photos", ""),
    ],
)
def test_missing_files(line, meant):
    assert said(line)[1] == (f"did you mean {meant}?" if meant else "")


def test_without_arguments_the_help_is_shown():
    outcome = CliRunner().invoke(cli, [], prog_name="odtk-ray")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("Usage: odtk-ray ")
    assert "infer" in outcome.stderr
