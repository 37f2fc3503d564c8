"""What works where torch and Ray are not installed, and what is said where one is needed."""

from __future__ import annotations

import json
import shutil

import pytest
from blocked_packages import Blocking
from click.testing import CliRunner
from effort import long_case
from synthetic import picture

from odtk_ray.cli.program import cli

OUTPUTS = ("found.json", "found.results.json", "found.csv", "found.jsonl")

# All that import torch, which is slow and may be missing: the network itself, the functions that
# define the kernels, and exports of checkpoints. Everything else is imported without.
NEED_TORCH = {
    "ops": {"anchors", "boxes", "decode_heads", "nms", "rotated"},
    "model": {
        "backbones",
        "checkpoint",
        "folding",
        "fpn",
        "fused",
        "initial_weights",
        "network_flops",
    }
    | {"mobilenet", "pth", "resnet", "retinanet", "weights"},
    "engines": {"cuda", "cuda_step", "gpu_network", "kernel_layers", "pytorch"},
    "exports": {"traced_network", "onnx.export_onnx", "onnx.write_graph"}
    | {"int8.calibration", "int8.quantization", "int8.ranges"},
}

IMPORT_ALL = """
import importlib, json, pkgutil, cuda_ops, odtk_ray

failed = []
for package in (odtk_ray, cuda_ops):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            failed.append((module.name, error.name))
print(json.dumps(failed))
"""


@pytest.fixture(scope="module")
def blocking(tmp_path_factory):
    return Blocking(tmp_path_factory.mktemp("blocking"))


@pytest.fixture(scope="module")
def detecting(checkpoint, tmp_path_factory):
    """The tiny model as an ONNX file that ends in detections."""
    path = tmp_path_factory.mktemp("detecting") / "model.onnx"
    arguments = ["export", checkpoint, path, "--size", "64", "96", "--with-postprocess"]
    outcome = CliRunner().invoke(cli, list(map(str, arguments)))
    assert outcome.exit_code == 0, outcome.output
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Pictures for two shards, one of them no picture."""
    folder = tmp_path_factory.mktemp("many")
    for seed in range(40):
        picture(seed, 80 + seed, 60).save(folder / f"{seed:02d}.jpg")
    (folder / "40.jpg").write_bytes(b"no picture")
    return folder


def wanted(model, images, folder, *more):
    """The arguments of a run that writes OUTPUTS into a folder."""
    arguments = ["infer", model, "--images", images, "--threads-per-worker", "1", *more]
    for name in OUTPUTS:
        arguments += ["--output", folder / name]
    return list(map(str, arguments))


def written(folder):
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def test_which_modules_need_torch_and_that_none_needs_ray(blocking):
    done = blocking.python("-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    failed = dict(json.loads(done.stdout))
    expected = {f"odtk_ray.{room}.{name}" for room in NEED_TORCH for name in NEED_TORCH[room]}
    assert failed == dict.fromkeys(expected, "torch")


@pytest.mark.cluster
@pytest.mark.parametrize("more", [(), long_case(("--tile", "50", "--overlap", "20"))])
def test_the_bytes_are_those_of_a_worker_on_ray(
    ray_session, blocking, detecting, many, tmp_path, more
):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    done = blocking.odtk_ray(*wanted(detecting, many, here, "--local", *more))
    assert done.returncode == 3, done.stderr
    arguments = wanted(detecting, many, there, "--workers", "1", *more)
    assert CliRunner().invoke(cli, arguments).exit_code == 3
    assert written(here) == written(there)


def test_a_run_begun_without_torch_goes_on_where_torch_is(blocking, detecting, many, tmp_path):
    arguments = wanted(detecting, many, tmp_path, "--local", "--keep-run")
    done = blocking.odtk_ray(*arguments)
    assert done.returncode == 3, done.stderr
    before = written(tmp_path)
    run = tmp_path / "found.json.run"
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    assert {"torch", "ray"}.isdisjoint(plan["settings"]["versions"])
    journal = run / "commits.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) > 1
    journal.write_text(lines[0], encoding="utf-8")  # as if it had been killed then
    for name in OUTPUTS:
        (tmp_path / name).unlink()
    resumed = CliRunner().invoke(cli, [*arguments, "--resume"])
    assert resumed.exit_code == 3, resumed.output
    assert "note: resuming: " in resumed.stderr
    assert written(tmp_path) == before


def test_exported_models_are_described_without_pyarrow_and_pillow_too(detecting, tmp_path):
    bare = Blocking(tmp_path, ("torch", "ray", "pyarrow", "PIL", "orjson", "rich"))
    done = bare.odtk_ray("info", detecting)
    assert done.returncode == 0, done.stderr
    assert "64x96 (height x width)" in done.stdout


def test_a_plan_is_built(blocking, graph, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    plan = tmp_path / "model.plan"
    done = blocking.odtk_ray("export", graph, plan, "--compute-capability", "8.9")
    assert done.returncode == 0, done.stderr
    done = blocking.odtk_ray("info", plan)
    assert done.returncode == 0, done.stderr
    assert "TensorRT" in done.stdout
    done = blocking.odtk_ray("infer", plan, "--images", graph.parent, "--local")
    assert done.returncode == 2
    assert "torch" not in done.stderr


@pytest.mark.parametrize("verb", ["demo", "convert", "doctor"])
def test_verbs_without_a_model(blocking, turned_truth, tmp_path, verb):
    arguments = {
        "demo": [tmp_path / "demo"],
        "convert": [turned_truth, tmp_path / "opencv.json", "--to", "opencv"],
        "doctor": [
            *("--annotations", turned_truth, "--images", turned_truth.parent),
            *("--rotated-bbox", "--samples", tmp_path / "doctor.png"),
        ],
    }
    done = blocking.odtk_ray(verb, *arguments[verb])
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_scores_rotated_boxes_is_missed_before_the_run(
    blocking, rotated_checkpoint, turned_truth, tmp_path
):
    model, output = tmp_path / "turned.onnx", tmp_path / "found.json"
    arguments = ["export", rotated_checkpoint, model, "--size", "64", "--with-postprocess"]
    assert CliRunner().invoke(cli, list(map(str, arguments))).exit_code == 0
    arguments = ["infer", model, "--images", turned_truth.parent, "--local", "--output", output]
    done = blocking.odtk_ray(*arguments, "--annotations", turned_truth)
    assert done.returncode == 2
    assert "pip install pycocotools" in done.stderr
    assert not (tmp_path / "found.json.run").exists()
    done = blocking.odtk_ray(*arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def turned_truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turned_truth")
    picture(1, 80, 60).save(folder / "1.jpg")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 20, 0.5], "area": 600}
    outline = [[30.5, 6.5, 9.4, 6.5, 9.4, 23.5, 30.5, 23.5]]
    document = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 80, "height": 60}],
        "annotations": [box | {"iscrowd": 0, "segmentation": outline}],
        "categories": [{"id": 1, "name": "ship"}],
    }
    path = folder / "turned.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "what", "hint"),
    [
        ("infer model.pth --images . --local", "this needs PyTorch", "--with-postprocess"),
        ("info model.pth", "this needs PyTorch", "export it to ONNX where PyTorch is"),
        ("export model.pth other.onnx", "this needs PyTorch", "or pip install torch"),
        ("export model.pth m.plan", "a plan of a checkpoint needs PyTorch", "export it to ONNX"),
        ("infer raw.onnx --images . --local", "needs PyTorch, which decodes", "--with-postprocess"),
        ("infer model.onnx --images .", "this needs Ray", "infer --local needs none"),
        ("export raw.onnx set --gpu-type all", "this needs Ray", "without --workers, --address"),
    ],
)
def test_what_is_said_where_one_is_needed(
    blocking, checkpoint, graph, detecting, tmp_path, monkeypatch, arguments, what, hint
):
    """One sentence, and what to do; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    for source, name in ((checkpoint, "model.pth"), (graph, "raw.onnx"), (detecting, "model.onnx")):
        shutil.copy(source, name)
    picture(1, 80, 60).save("1.jpg")
    before = set(tmp_path.iterdir())
    done = blocking.odtk_ray(*arguments.split())
    assert done.returncode == 2, done.stderr
    error, advice = done.stderr.splitlines()[-2:]
    assert error.startswith("error: ")
    assert what in error
    assert advice.startswith("  hint: ")
    assert hint in advice
    assert set(tmp_path.iterdir()) == before


@pytest.mark.long
def test_a_calibration_in_this_process_needs_no_ray(checkpoint, photos, tmp_path):
    without_ray = Blocking(tmp_path, ("ray",))
    done = without_ray.odtk_ray(
        *("export", checkpoint, tmp_path / "int8.onnx", "--size", "64", "--int8"),
        *("--calibration-images", photos, "--calibration-batches", "1"),
    )
    assert done.returncode == 0, done.stderr
    assert "INT8" in done.stdout
