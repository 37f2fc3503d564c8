"""What exported models say about themselves: read back whole, refused when it does not fit."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from synthetic import ABOUT

from odtk_ray.artifacts.describe_exported import describe_exported
from odtk_ray.artifacts.exported_model import ExportedModel, read_exported
from odtk_ray.artifacts.input_size import check_size, level_sizes
from odtk_ray.errors import UsageError


def onnx_bytes(metadata, weights=1000, about=ABOUT):
    """A model with this metadata and these ends, which are all that is read."""
    ends = {name: ["batch", *dims] for name, dims in about.end_shapes.items()}
    x, *y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in ends.items())
    table = onnx.numpy_helper.from_array(np.arange(weights, dtype=np.float32), "w")
    nodes = [helper.make_node("Identity", ["input_1"], [name]) for name in about.output_names]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], y, [table]))
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def written(tmp_path, metadata):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(metadata))
    return path


def test_a_file_says_what_was_written(tmp_path):
    path = written(tmp_path, {"other": "x", **ABOUT.to_metadata()})
    model = read_exported(path)
    assert dataclasses.replace(model, sha256="") == ABOUT
    assert read_exported(path, expect=model.sha256) == model


def test_metadata_is_what_the_onnx_package_reads(tmp_path):
    path = written(tmp_path, ABOUT.to_metadata())
    props = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert props["odtk_ray.size"] == [64, 96]
    assert props["odtk_ray.format"] == 1
    assert len(props) == len(dataclasses.fields(ExportedModel))  # sha256 left out, format added


@pytest.mark.parametrize(
    "changes",
    [{"classes": 5, "class_names": None, "category_ids": None}, {"size": (64, 64)},
     {"outputs": "detections"}, {"precision": "int8"}],
)  # fmt: skip
def test_a_graph_that_is_not_the_described_one_is_refused(tmp_path, changes):
    """The last one changes nothing that is seen from outside."""
    path = tmp_path / "model.onnx"
    other = dataclasses.replace(ABOUT, **changes)
    for graph, facts in ((ABOUT, other), (other, ABOUT)):
        path.write_bytes(onnx_bytes(facts.to_metadata(), about=graph))
        if "precision" in changes:
            read_exported(path)
            continue
        with pytest.raises(UsageError, match="its graph is not the one that its description says"):
            read_exported(path)


def test_levels_and_outputs():
    shapes = [(level.label, level.stride, level.height, level.width) for level in ABOUT.levels]
    assert shapes[0] == ("ResNet18FPN/P3", 8, 8, 12)
    assert shapes[4] == ("ResNet18FPN/P7", 128, 1, 1)
    assert ABOUT.output_names[4:6] == ("score_5", "box_1")
    ended = dataclasses.replace(ABOUT, outputs="detections")
    assert ended.output_names == ("scores", "boxes", "classes")


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((32, 32), [(4, 4), (2, 2), (1, 1), (1, 1), (1, 1)]),
        # 800 / 32 = 25, halved upwards: 13, 7
        ((800, 1280), [(100, 160), (50, 80), (25, 40), (13, 20), (7, 10)]),
        ((128, 256), [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]),
    ],
)
def test_level_sizes(size, sizes):
    assert level_sizes(*size) == sizes


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((720, 1280), "--size 704 1280 or --size 736 1280"),
        ((1, 1), "--size 32 32"),
        ((800, 1333), "--size 800 1312 or --size 800 1344"),
    ],
)
def test_other_sizes_name_the_nearest(size, nearest):
    with pytest.raises(UsageError, match=f"the nearest: {nearest}$"):
        check_size("--size", *size)
    check_size("--size", 800, 1280)


def test_the_description_for_people():
    rows = dict(describe_exported("m.onnx", ABOUT))
    assert rows["classes"] == "2: cat, dög"
    assert rows["post-processing"] == "threshold 0.1, top-n 20, nms 0.4, detections 7"
    fixed = dict(describe_exported("m.onnx", dataclasses.replace(ABOUT, outputs="detections")))
    assert fixed["post-processing"].endswith("(fixed)")


POST = dataclasses.asdict(ABOUT.post)


def changed(**changes):
    facts = ABOUT.to_metadata()
    for key, value in changes.items():
        if value is None:
            del facts[f"odtk_ray.{key}"]
        else:
            facts[f"odtk_ray.{key}"] = json.dumps(value)
    return facts


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({}, "odtk-ray did not write it"),
        ({"a": "b"}, "odtk-ray did not write it"),
        (changed(format=2), "its format is 2"),
        (changed(format=None), "its description is damaged"),
        (changed(classes=None), "its description is damaged"),
        (changed(classes=3), "its description is damaged"),
        (changed(classes="2"), "its description is damaged"),
        (changed(novel=1), "its description is damaged"),
        (changed(size=[64, 97]), "its description is damaged"),
        (changed(size=[64]), "its description is damaged"),
        (changed(size=64), "its description is damaged"),
        (changed(strides=[8]), "its description is damaged"),
        (changed(anchor_boxes=[[[0, 0, 1, 1]]]), "its description is damaged"),
        (changed(anchor_boxes="x"), "its description is damaged"),
        (changed(outputs="boxes"), "its description is damaged"),
        (changed(precision="fp64"), "its description is damaged"),
        (changed(post={"threshold": 0.1, "odd": 1}), "its description is damaged"),
        (changed(classes=True), "damaged: classes is True, not a whole number"),
        (changed(classes=10**7), "damaged: classes is 10000000, not a number from 1 to 1,000,000"),
        (changed(strides=[-8, 16, 32, 64, 128]), "damaged: its strides cannot be right"),
        (changed(std=[0.2, 0.0, 0.2]), r"damaged: std\[1\] is 0.0, not a number above 0"),
        (changed(mean=[0.2, "0", 0.2]), r"damaged: mean\[1\] is '0', not a finite number"),
        (changed(mean=[0.2, 0.2]), "damaged: its mean or std cannot be right"),
        (changed(ratios=[-1.0]), r"damaged: ratios\[0\] is -1.0, not a number"),
        (changed(anchor_boxes=[[[0, 0, 8, 1e39]]] * 5), r"damaged: anchor_boxes\[0\]\[0\]\[3\] is"),
        (changed(size=[32, 1 << 62]), r"damaged: size\[1\] is"),
        (changed(anchors="newer"), "damaged: anchors is 'newer', not one of current, legacy"),
        (changed(category_ids=[1, 2.5]), r"damaged: category_ids\[1\] is 2.5"),
        (changed(class_names=["a", None]), r"damaged: class_names\[1\] is None, not text"),
        (
            changed(post=dataclasses.asdict(ABOUT.post) | {"top_n": 0}),
            "post: --top-n 0 is out of range",
        ),
        (
            changed(post=dataclasses.asdict(ABOUT.post) | {"top_n": 1.5}),
            "post.top_n is 1.5, not a wh",
        ),
        (changed(std=[1.0, 1.0, float("nan")]), r"damaged: std\[2\] is nan, not a finite number"),
        (ABOUT.to_metadata() | {"odtk_ray.std": "[" * 100_000}, "damaged: it is not JSON"),
        (ABOUT.to_metadata() | {"odtk_ray.std": "[" * 900 + "]" * 900}, "damaged: std"),
        (changed(post=[1]), "its description is damaged"),
        (ABOUT.to_metadata() | {"odtk_ray.size": "[64"}, "its description is damaged"),
    ],
)
def test_bad_descriptions_are_refused(tmp_path, metadata, why):
    with pytest.raises(UsageError, match=why):
        read_exported(written(tmp_path, metadata))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "damaged, or not an ONNX"),
        (b"PK\x03\x04 is a zip", "damaged, or not an ONNX"),
        (b"\xff" * 100, "damaged, or not an ONNX"),
        (b"\x0a\xff\xff\xff\x0f", "damaged, or not an ONNX"),
        (b"\x72\x03\x12\x01x", "damaged, or not an ONNX"),  # metadata without a key
        (onnx_bytes(ABOUT.to_metadata())[:-50], "damaged, or not an ONNX|description is damaged"),
        (onnx_bytes(ABOUT.to_metadata())[:1000], "damaged, or not an ONNX"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, why):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=why):
        read_exported(path)


def test_missing_and_other_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_exported(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="directory"):
        read_exported(tmp_path)
    path = written(tmp_path, ABOUT.to_metadata())
    with pytest.raises(UsageError, match="this run's is 000000000000"):
        read_exported(path, expect="0" * 64)
