"""FP16 in the types of a graph: against the FP32 graph in ONNX Runtime, and as a file."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.artifacts.onnx_metadata import begins_with_cast
from odtk_ray.cli.program import cli
from odtk_ray.errors import UsageError
from odtk_ray.exports.check.compare_detections import match
from odtk_ray.exports.onnx.half_types import to_half
from odtk_ray.records import Detections

SIZE = (64, 96)
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def run(path, batch):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # as `infer` does
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_1": batch})


@pytest.mark.parametrize("name", ["fp32", "int8", "turned_int8"])
def test_half_models_are_half_inside_and_float_outside(plan_models, name):
    half = to_half(onnx.load(plan_models / f"{name}.onnx"))
    onnx.checker.check_model(half)
    shaped = onnx.shape_inference.infer_shapes(half, check_type=True, strict_mode=True)
    kinds = {v.name: v.type.tensor_type.elem_type for v in shaped.graph.value_info}
    kinds |= {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    convs = [node for node in half.graph.node if node.op_type == "Conv"]
    assert {kinds[name] for node in convs for name in (*node.input, *node.output)} == {FLOAT16}
    scales = [kind for tensor, kind in kinds.items() if tensor.endswith("/scale")]
    assert bool(scales) == ("int8" in name)
    assert set(scales) <= {FLOAT16}
    ends = [*half.graph.input, *half.graph.output]
    assert {v.type.tensor_type.elem_type for v in ends} == {FLOAT}


def distance(found, expected):
    """Mean difference of each output, as a share of the largest number."""
    assert [one.dtype for one in found] == [np.float32] * len(expected)
    return np.array(
        [
            np.abs(a - b).mean() / max(1, np.abs(b).max())
            for a, b in zip(found, expected, strict=True)
        ]
    )


def test_half_models_compute_what_float_models_do(plan_models):
    batch = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(2)).numpy()
    exact, half, int8, int8_half = (
        run(plan_models / f"{name}.onnx", batch) for name in ("fp32", "half", "int8", "int8_half")
    )
    assert 0 < distance(half, exact).max() < 5e-3
    # INT8 rounds so coarsely that an activation in FP16 may get the next code.
    assert distance(int8_half, exact).mean() < 1.3 * distance(int8, exact).mean()


def test_weights_too_large_for_half_are_refused(plan_models):
    huge = onnx.load(plan_models / "fp32.onnx")
    (bias,) = (t for t in huge.graph.initializer if t.name == "cls_head.0.bias")
    values = onnx.numpy_helper.to_array(bias) + 70_000
    bias.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), bias.name))
    with pytest.raises(UsageError, match=r"cls_head\.0\.bias does not fit into FP16"):
        to_half(huge)


@pytest.mark.parametrize(
    ("plain", "half", "precision"), [("fp32", "half", "fp16"), ("int8", "int8_half", "int8")]
)
def test_the_file_is_the_rewritten_graph_and_says_so(plan_models, plain, half, precision):
    files = [plan_models / f"{name}.onnx" for name in (plain, half)]
    assert [begins_with_cast(path.read_bytes()) for path in files] == [False, True]
    written = onnx.load(files[1])
    assert written.graph == to_half(onnx.load(files[0])).graph
    assert [entry.version for entry in written.opset_import] == [19]
    assert read_exported(files[1]).precision == precision
    assert (
        f"precision        {precision}" in CliRunner().invoke(cli, ["info", str(files[1])]).output
    )
    sizes = [path.stat().st_size for path in files]
    assert sizes[1] < 0.6 * sizes[0]


def found(path):
    """Detections of each image."""
    rows: dict[int, list] = {}
    for row in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
        rows.setdefault(row["image_id"], []).append(row)
    return {
        image: Detections(
            np.array([row["score"] for row in some], np.float32),
            np.array([row["bbox"] for row in some], np.float32) @ [[1, 0, 1, 0], [0, 1, 0, 1],
                                                                   [0, 0, 1, 0], [0, 0, 0, 1]],
            np.array([row["category_id"] for row in some], np.int32),
        )
        for image, some in rows.items()
    }  # fmt: skip


def test_infer_finds_what_the_float_files_do(plan_models, photos, tmp_path):
    results = {}
    for name in ("fp32", "half", "int8", "int8_half"):
        path = tmp_path / f"{name}.json"
        outcome = CliRunner().invoke(cli, [
            "infer", str(plan_models / f"{name}.onnx"), "--images", str(photos), "--local",
            "--output", str(path),
        ])  # fmt: skip
        assert outcome.exit_code == 0, outcome.output
        results[name] = found(path)
    exact = results["fp32"]
    shares = {}
    for name, rows in results.items():
        assert rows.keys() == exact.keys()
        counts = np.array([match(rows[image], exact[image]) for image in exact])
        matched, counted = counts.sum(axis=0)
        assert counted > 1000
        shares[name] = matched / counted
    assert shares["half"] > 0.85  # random weights: many detections overlap, of nearly equal scores
    assert shares["int8_half"] > shares["int8"] - 0.05
