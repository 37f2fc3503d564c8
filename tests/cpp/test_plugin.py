"""The TensorRT plugin with stand-ins of TensorRT and of a GPU, on what the exporter writes."""

from __future__ import annotations

import subprocess

import onnx
import pytest
from click.testing import CliRunner
from fakes import ROOT, build
from onnx import helper

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.cli.program import cli

SOURCE = ROOT / "tests" / "cpp" / "plugin"
SANITIZERS = "-fsanitize=address,undefined"
NOT_FIELDS = {"plugin_version"}  # TensorRT's parser takes it for itself


@pytest.fixture(scope="module", params=[8, 11])
def folder(request):
    """Where the plugin is, for a major version of TensorRT; wrong addresses end the program."""
    path = ROOT / "build" / f"plugin-{request.param}"
    flags = f"-DCMAKE_CXX_FLAGS=-Werror -DFAKE_TENSORRT_MAJOR={request.param} {SANITIZERS}"
    build(SOURCE, path, "-DODTK_FAKES=ON", "-DCMAKE_BUILD_TYPE=Debug", flags)
    return path


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Exports a checkpoint; returns what the file says of itself, and the plugin's attributes."""

    def export(model, *flags):
        path = tmp_path_factory.mktemp("plugin") / "model.onnx"
        given = ["export", model, path, "--size", 64, 96, "--with-postprocess", "--plugin", *flags]
        outcome = CliRunner().invoke(cli, list(map(str, given)))
        assert outcome.exit_code == 0, outcome.output
        (node,) = (n for n in onnx.load(path).graph.node if n.op_type == "OdtkDetections")
        found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        return read_exported(path), {k: v for k, v in found.items() if k not in NOT_FIELDS}

    return export


@pytest.fixture(scope="module")
def models(export, checkpoint, rotated_checkpoint):
    """Attributes of three models: few candidates, many, and rotated boxes."""
    return {
        "few": export(checkpoint, "--top-n", 60, "--detections", 9),
        "many": export(checkpoint, "--top-n", 5000),
        "rotated": export(rotated_checkpoint, "--rotated-nms", "odtk"),
    }


def call(folder, about, fields, batch):
    """The process when it has ended."""
    lines = []
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        kind = "float" if isinstance(values[0], float) else "int"
        lines.append(" ".join([name, kind, *map(repr, values)]))
    levels = len(about.strides)
    shapes = [  # channels of scores and boxes, height and width
        (score[0], box[0], *score[1:])
        for score, box in zip(about.raw_shapes[:levels], about.raw_shapes[levels:], strict=True)
    ]
    command = [folder / "call_plugin", batch, *(size for shape in shapes for size in shape)]
    return subprocess.run(
        list(map(str, command)), input="\n".join(lines), capture_output=True, text=True, check=False
    )


def workspace(about, batch):
    """Bytes of the parts that docs/architecture.md describes, each rounded up to 256."""
    top_n, segments = about.post.top_n, batch * len(about.strides)
    room = 1 << (top_n - 1).bit_length()
    parts = [
        4 * segments,  # counts
        8 * segments * max(top_n, 16384),  # lists
        8 * segments * room if room > 4096 else 0,  # keys that do not fit into shared memory
        *(4 * values * segments * top_n for values in (1, about.box_values, 1)),  # candidates
    ]
    return sum(-(-part // 256) * 256 for part in parts)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["few", "many", "rotated"])
def test_it_does_what_tensorrt_asks_of_it(folder, models, name, batch):
    about, fields = models[name]
    done = call(folder, about, fields, batch)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(": ") for line in done.stdout.splitlines())
    assert sorted(said.pop("fields").split()) == sorted(fields)
    detections = about.post.detections
    assert said.pop("output 0") == f"type 0, {batch} {detections}"
    assert said.pop("output 1") == f"type 0, {batch} {detections} {about.box_values}"
    assert said.pop("output 2") == f"type 3, {batch} {detections}"
    assert int(said.pop("workspace")) == workspace(about, batch)
    assert said.pop("namespace") == "some"
    assert len(said) == 12
    assert set(said.values()) == {"yes"}, done.stdout
    assert (
        done.stderr
        == "OdtkDetections cannot be used: the plan is cut off\n" * (done.stderr.count("\n") - 1)
        + "OdtkDetections cannot be used: it has not started\n"
    )


@pytest.mark.parametrize(("change", "message"), [
    ({"anchors": [1.0] * 19}, "its field anchors cannot be right"),
    ({"strides": []}, "its field strides cannot be right"),
    ({"strides": [8] * 17}, "its field strides cannot be right"),
    ({"classes": 0}, "its field classes cannot be right"),
    ({"threshold": 1.5}, "its field threshold cannot be right"),
    ({"nms": -0.5}, "its field nms cannot be right"),
    ({"nms": 1}, "its field nms has another type"),
    ({"top_n": 0}, "its field top_n cannot be right"),
    ({"detections": -1}, "its field detections cannot be right"),
    ({"detections": [1, 2]}, "its field detections has another length"),
    ({"rotated": 3}, "its field rotated cannot be right"),
    ({"top_n": None}, "it has no field top_n"),
])  # fmt: skip
def test_wrong_fields_are_refused_in_one_sentence(folder, models, change, message):
    about, fields = models["few"]
    changed = {k: v for k, v in (fields | change).items() if v is not None}
    if changed["strides"] == []:
        changed["strides"] = [0]
    done = call(folder, about, changed, 1)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == f"OdtkDetections cannot be used: {message}\n"


def test_a_network_of_another_shape_does_not_run(folder, models):
    about, fields = models["few"]
    done = call(folder, about, fields | {"classes": 2}, 1)
    assert "it runs: no" in done.stdout
    assert "level 1 has another shape than its fields say" in done.stderr


def test_the_library_does_not_export_what_it_is_linked_with(folder):
    library = folder / "odtk" / "libodtk_plugin.so"
    listed = subprocess.run(["nm", "-DC", "--defined-only", library], capture_output=True,
                            text=True, check=True).stdout  # fmt: skip
    assert "odtk::gpu::Device::" not in listed
