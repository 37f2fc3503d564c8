"""`odtk-ray export`, and infer and info with what it wrote."""

from __future__ import annotations

import json
import os
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic import picture

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.cli.program import cli
from odtk_ray.datasets.rotated_boxes import corners


def odtk_ray(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    outcome = odtk_ray("export", checkpoint, path, "--size", 96, 160)
    assert outcome.exit_code == 0, outcome.output
    return path


@pytest.fixture(scope="module")
def ended(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "ended.onnx"
    outcome = odtk_ray(
        "export", checkpoint, path, "--size", 96, 160, "--with-postprocess", "--detections", 9
    )
    assert outcome.exit_code == 0, outcome.output
    return path


def test_the_summary_says_what_to_do_next(checkpoint, tmp_path, photos):
    path = tmp_path / "m.onnx"
    outcome = odtk_ray(
        "export", checkpoint, path, "--size", 96, 160, "--check-images", photos, "--opset", 13
    )
    wrote, layers, checked, after = outcome.stdout.splitlines()
    assert wrote.startswith(f"wrote {path} (")
    assert "ResNet18FPN, 3 classes, 96x160, FP32, raw outputs, opset 13" in wrote
    assert layers == "78 convolutions: 78 FP32"
    assert "on 4 pictures: scores within" in checked
    assert after == f"next: odtk-ray infer {path} --images DIR"
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_without_onnx_runtime_the_export_says_that_it_was_not_run(
    checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    outcome = odtk_ray("export", checkpoint, tmp_path / "m.onnx", "--size", 64)
    assert outcome.exit_code == 0, outcome.output
    assert "not run here: ONNX Runtime is not installed" in outcome.stdout.splitlines()
    assert read_exported(tmp_path / "m.onnx").size == (64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.pth", "m.onnx"], "No such file"),
        (["{model}", "m.bin"], "its name does not end in .onnx or .plan"),
        (["{model}", "m.engine"], "TensorRT plans end in .plan here"),
        (["{model}", "m.onnx", "--int8", "--full-precision"], "contradict each other"),
        (["{model}", "m.onnx", "--half", "--full-precision"], "--half and --full-precision contr"),
        (
            ["{model}", "m.onnx", "--half", "--with-postprocess"],
            "operators of detections compute in FP32",
        ),
        (["{model}", "m.onnx", "--half", "--opset", "17"], "FP16 files have opset 19"),
        (["{model}", "there/m.onnx"], "there is no folder there"),
        (["{model}", "folder.onnx"], "it is a folder"),
        (["{model}", "/proc/self/fd/m.onnx"], "choose a folder that you can write to"),
        (["{model}", "s3://bucket/m.onnx"], "exports are written to local files"),
        (["{model}", "m.onnx", "--size", "720", "1280"], "--size 704 1280 or --size 736 1280"),
        (["{model}", "m.onnx", "--size", "1", "2", "3"], "--size 1 2 3 has 3 numbers"),
        (["{model}", "m.onnx", "--size", "32", "--check-images", "no"], "no"),
        (["m.onnx", "n.onnx"], "cannot export m.onnx: it is an exported model"),
    ],
)
def test_wrong_usage_writes_nothing(checkpoint, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    outcome = odtk_ray("export", *(str(a).format(model=checkpoint) for a in arguments))
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.output
    assert "Traceback" not in outcome.output
    assert os.listdir(tmp_path) == ["folder.onnx"]


def test_an_export_that_cannot_be_written_leaves_the_old_file(checkpoint, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    tmp_path.chmod(0o555)
    try:
        with (tmp_path / "probe").open("wb"):
            pytest.skip("this user may write anywhere")
    except PermissionError:
        outcome = odtk_ray("export", checkpoint, path, "--size", 32)
        assert outcome.exit_code == 2
        assert f"cannot write {path}" in outcome.output
        assert path.read_bytes() == b"old"
    finally:
        tmp_path.chmod(0o755)


def test_a_full_disk_leaves_nothing(checkpoint):
    if not os.path.exists("/dev/shm"):
        pytest.skip("no /dev/shm")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = f"/dev/shm/odtk-ray-test-{os.getpid()}"
    os.mkdir(folder)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        outcome = odtk_ray("export", checkpoint, f"{folder}/m.onnx", "--size", 32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        left = os.listdir(folder)
        for name in left:
            os.remove(f"{folder}/{name}")
        os.rmdir(folder)
    assert outcome.exit_code == 1
    assert "cannot write" in outcome.output
    assert "--resume" not in outcome.output
    assert left == []


def test_info_of_an_exported_model(ended):
    outcome = odtk_ray("info", ended)
    assert outcome.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in outcome.output.splitlines())
    assert rows["input"] == "96x160 (height x width)"
    assert rows["outputs"] == "scores, boxes, classes"
    assert rows["post-processing"].endswith("detections 9 (fixed)")


def detected(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    return sorted(
        (row["image_id"], row["category_id"], *np.round(row["bbox"], 1), round(row["score"], 3))
        for row in document["annotations"]
    )


def test_infer_gives_pytorchs_detections(runs, checkpoint, model, ended, photos, tmp_path):
    """26 pictures of four sizes, portraits among them: all scaled to fit into 96x160."""
    common = ("--images", photos, "--detections", 9, "--batch", 3)
    runs = {
        "pytorch": (checkpoint, "--fit", 96, 160),
        "raw": (model,),
        "ended": (ended,),
    }
    for name, arguments in runs.items():
        outcome = odtk_ray("infer", *arguments, *common, "--output", tmp_path / f"{name}.json")
        assert outcome.exit_code == 0, outcome.output
    rows = {name: detected(tmp_path / f"{name}.json") for name in runs}
    assert len(rows["pytorch"]) > 100
    same = [len(set(rows["pytorch"]) & set(rows[name])) for name in ("raw", "ended")]
    assert min(same) > 0.97 * len(rows["pytorch"])  # the rest is rounded another way


def test_a_run_with_an_exported_model_is_resumed(runs, model, photos, tmp_path):
    run = ("infer", model, "--images", photos, "--output", tmp_path / "a.json", "--keep-run")
    assert odtk_ray(*run).exit_code == 0
    before = (tmp_path / "a.json").read_bytes()
    resumed = odtk_ray(*run, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "26 of 26 images are done" in resumed.output
    assert (tmp_path / "a.json").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resize", 800], "--resize contradicts model.onnx"),
        (["--max-size", 1333], "--max-size contradicts model.onnx"),
        (["--fit", 96, 96], "--fit contradicts model.onnx"),
        (["--anchors", "legacy"], "--anchors contradicts model.onnx"),
    ],
)
def test_settings_that_contradict_the_model(model, photos, flags, message):
    outcome = odtk_ray("infer", model, "--images", photos, *flags)
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.output
    assert "exported for 96x160 in FP32" in outcome.output


@pytest.fixture(scope="module")
def turned(ranked_rotated, photos, tmp_path_factory):
    """A rotated model with raw outputs, one that ends in detections, and what exporting says."""
    folder = tmp_path_factory.mktemp("turned")
    texts = []
    for name, more in (("raw", ()), ("ended", ("--with-postprocess", "--detections", 9))):
        outcome = odtk_ray("export", ranked_rotated, folder / f"{name}.onnx", "--size", 96, 160,
                           "--rotated-bbox", "--check-images", photos, *more)  # fmt: skip
        assert outcome.exit_code == 0, outcome.output
        texts.append(outcome.stdout)
    return folder, texts


def test_rotated_models_are_checked_and_described(turned):
    folder, texts = turned
    for text, outputs in zip(texts, ("raw outputs", "ends in detections"), strict=True):
        wrote, layers, checked, after = text.splitlines()
        assert f"3 classes, rotated boxes, 96x160, FP32, {outputs}, opset 17" in wrote
        assert layers == "78 convolutions: 78 FP32"
        matched, counted = map(int, re.findall(r"(\d+) of (\d+) detections matched", checked)[0])
        assert matched > 0.97 * counted > 10
        assert after.startswith("next: odtk-ray infer ")
    rows = odtk_ray("info", folder / "ended.onnx").stdout.splitlines()
    rows = dict(line.split(maxsplit=1) for line in rows)
    assert rows["boxes"] == "rotated"
    assert rows["angles"] == "-0.5236, 0, 0.5236"
    assert rows["post-processing"].endswith("detections 9, rotated-nms own (fixed)")


def test_rotated_models_run_like_their_checkpoint(
    runs, ranked_rotated, turned, photos, annotations, tmp_path
):
    """Detections of five numbers with their outlines, and both kinds of figures."""
    common = ("--images", photos, "--annotations", annotations, "--detections", 9, "--batch", 3,
              "--rotated-bbox")  # fmt: skip
    runs = {
        "pytorch": (ranked_rotated, "--fit", 96, 160),
        "raw": (turned[0] / "raw.onnx",),
        "ended": (turned[0] / "ended.onnx",),
    }
    rows, figures = {}, {}
    for name, arguments in runs.items():
        folder = tmp_path / name
        folder.mkdir()
        outcome = odtk_ray("infer", *arguments, *common, "--output", folder / "d.json")
        assert outcome.exit_code == 0, outcome.output
        assert "the same by exact polygons, without pixels:" in outcome.stdout
        metrics = json.loads((folder / "d.metrics.json").read_text(encoding="utf-8"))
        figures[name] = [*metrics["stats"].values(), *metrics["exact"]["stats"].values()]
        found = json.loads((folder / "d.json").read_text(encoding="utf-8"))["annotations"]
        for row in found:
            outline = corners(np.array([row["bbox"]])).ravel().tolist()
            assert row["segmentation"] == [outline]
        rows[name] = {
            (row["image_id"], row["category_id"], *np.round(row["bbox"], 1), round(row["score"], 3))
            for row in found
        }
    assert len(rows["pytorch"]) > 150
    for name in ("raw", "ended"):
        # The rest is rounded another way.
        assert len(rows["pytorch"] & rows[name]) > 0.95 * len(rows["pytorch"])
        np.testing.assert_allclose(figures[name], figures["pytorch"], atol=0.02)


def test_angles_are_compared_as_asked(runs, turned, photos, tmp_path):
    """Raw outputs leave it open; a graph that ends in detections has it fixed."""
    common = ("--images", photos, "--limit", 4, "--nms", 0.3)
    found = {}
    for kind in ("own", "odtk"):
        outcome = odtk_ray("infer", turned[0] / "raw.onnx", *common, "--rotated-nms", kind,
                           "--output", tmp_path / "d.json")  # fmt: skip
        assert outcome.exit_code == 0, outcome.output
        found[kind] = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))["annotations"]
    assert found["own"] != found["odtk"]
    outcome = odtk_ray("infer", turned[0] / "ended.onnx", "--images", photos,
                       "--rotated-nms", "odtk")  # fmt: skip
    assert outcome.exit_code == 2
    assert "--rotated-nms contradicts ended.onnx" in outcome.output


@pytest.mark.parametrize("flag", [("--rotated-bbox",), ("--rotated-nms", "odtk")])
def test_exporting_an_axis_aligned_model_as_rotated_is_refused(checkpoint, model, tmp_path, flag):
    for source, target in ((checkpoint, "m.onnx"), (checkpoint, "m.plan"), (model, "m.plan")):
        pytest.importorskip("tensorrt_rtx" if target == "m.plan" else "onnx")
        outcome = odtk_ray("export", source, tmp_path / target, "--size", 96, 160, *flag)
        assert outcome.exit_code == 2, outcome.output
        assert outcome.stderr == (
            f"error: {flag[0]} does not fit {source.name}: "
            "the model has no angles: it detects axis-aligned boxes\n"
        )
    assert os.listdir(tmp_path) == []


def test_an_axis_aligned_model_is_not_called_rotated(model, photos):
    outcome = odtk_ray("infer", model, "--images", photos, "--rotated-bbox")
    assert outcome.exit_code == 2, outcome.output
    assert "--rotated-bbox does not fit model.onnx" in outcome.output


def test_windows_are_fitted_like_pictures(runs, checkpoint, model, tmp_path):
    """Each window of 100x100 becomes 96x96 in an input of 96x160, with either kind of model."""
    folder = tmp_path / "large"
    folder.mkdir()
    picture(4, 300, 180).save(folder / "a.png")
    common = ("--images", folder, "--tile", 100, "--overlap", 20)
    runs = {"pytorch": (checkpoint, "--fit", 96, 160), "raw": (model,)}
    for name, arguments in runs.items():
        outcome = odtk_ray("infer", *arguments, *common, "--output", tmp_path / f"{name}.json")
        assert outcome.exit_code == 0, outcome.output
    one, other = (detected(tmp_path / f"{name}.json") for name in runs)
    assert max(row[2] for row in one) > 200  # from windows at the right
    assert len(one) > 100
    assert len(set(one) & set(other)) > 0.97 * len(one)  # the rest is rounded another way


@pytest.mark.parametrize("flag", ["--resize", "--max-size"])
def test_fit_takes_the_place_of_resize(checkpoint, photos, flag):
    outcome = odtk_ray("infer", checkpoint, "--images", photos, "--fit", 96, 160, flag, 96)
    assert outcome.exit_code == 2, outcome.output
    assert f"--fit and {flag} contradict each other" in outcome.output


def test_fit_is_a_size_of_the_pyramid(checkpoint, photos):
    outcome = odtk_ray("infer", checkpoint, "--images", photos, "--fit", 100, 160)
    assert outcome.exit_code == 2, outcome.output
    assert "--fit 96 160 or --fit 128 160" in outcome.output


@pytest.mark.parametrize("flag", ["--threshold", "--top-n", "--nms", "--detections"])
def test_post_processing_in_the_graph_is_fixed(ended, photos, flag):
    outcome = odtk_ray("infer", ended, "--images", photos, flag, 1)
    assert outcome.exit_code == 2, outcome.output
    assert f"{flag} contradicts ended.onnx" in outcome.output


def test_a_foreign_onnx_file_is_refused(model, photos, tmp_path):
    import onnx

    foreign = onnx.load(model)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    for command in (["infer", "--images", photos], ["info"]):
        outcome = odtk_ray(command[0], tmp_path / "foreign.onnx", *command[1:])
        assert outcome.exit_code == 2
        assert "odtk-ray did not write it" in outcome.output
