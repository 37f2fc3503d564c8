"""Layers by precision, in the words of several versions of TensorRT."""

from __future__ import annotations

import json

import onnx
import pytest

from odtk_ray.exports.check.layer_precisions import LayerPrecisions, graph_layers, read_layers


def tensor(text, key="Format/Datatype", **more):
    return {"Name": "t", "Dimensions": [1, 8, 4, 4], key: text, **more}


def layer(kind, source, result="", weights=None, **more):
    """One entry of the inspector's `LayerPrecisions`."""
    entry = {"Name": kind, "LayerType": kind, "Inputs": [source], "Outputs": [result or source]}
    if weights:
        entry["Weights"] = {"Type": weights, "Count": 64}
    return entry | more


# TensorRT 8: prose; the first layer's example is that of NVIDIA's documentation.
INT8 = tensor("Thirty-two wide channel vectorized row major Int8 format.")
FP16 = tensor("Channel major FP16 format where channel % 8 == 0")
FP32 = tensor("Row major linear FP32")
EIGHT = [
    layer("Reformat", FP32, INT8),
    layer("CaskConvolution", INT8, weights="Int8", ParameterType="Convolution"),
    layer("CaskConvolution", INT8, FP16, weights="Int8", ParameterType="Convolution"),
    layer("CudnnConvolution", FP16, weights="Half", ParameterType="Convolution"),
    layer("CaskPooling", INT8),
    layer("Resize", FP16),
    layer("PointWiseV2", FP32),
    layer("NoOp", FP32),
]

# With an open batch and no context it does not know the formats, but the weights.
UNKNOWN = tensor("N/A due to dynamic shapes")
OPEN = [layer("CaskConvolution", UNKNOWN, weights="Int8"), layer("PointWise", UNKNOWN)]

# TensorRT 10: words. 11: two fields.
TEN = [
    layer("conv", tensor("Half"), weights="Half"),
    layer("kgen", tensor("Float")),
    layer("kgen", tensor("BFloat16")),
    layer("Shuffle", tensor("Int32")),
]
ELEVEN = [
    layer("Convolution", tensor("Row major linear INT8 format (kLINEAR)", "Format",
                                DataType="Int8")),
    layer("Kgen", tensor("Row major linear FP32 format (kLINEAR)", "Format", DataType="Float")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (EIGHT, LayerPrecisions({"INT8": 3, "FP16": 2, "FP32": 1}, {"INT8": 2, "FP16": 1}, 1)),
        (OPEN, LayerPrecisions({"INT8": 1}, {"INT8": 1})),
        (TEN, LayerPrecisions({"FP16": 1, "FP32": 1, "BF16": 1}, {"FP16": 1})),
        (ELEVEN, LayerPrecisions({"INT8": 1, "FP32": 1}, {"INT8": 1})),
        ([], None),
        (["conv1 + relu", "conv2"], None),  # built without details
        ([layer("CaskConvolution", UNKNOWN)], None),
        ([{"LayerType": "Convolution"}, {"Inputs": "none"}, 7, None], None),
    ],
)
def test_layers_are_read(layers, expected):
    assert read_layers(json.dumps({"Layers": layers, "Bindings": ["input_1"]})) == expected


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', '{"Layers": 5}', "{}"])
def test_what_is_no_information_gives_none(text):
    assert read_layers(text) is None


def test_control_characters_between_names_do_no_harm():
    """TensorRT 8.6 writes them raw between the ONNX nodes that a layer was fused of."""
    entry = layer("CaskConvolution", FP16, Metadata="[ONNX Layer: conv]<>[ONNX Layer: relu]")
    text = json.dumps({"Layers": [entry]}).replace("<>", "\x1e")
    assert read_layers(text) == LayerPrecisions({"FP16": 1}, {"FP16": 1})


def test_the_line_has_the_most_frequent_first():
    found = LayerPrecisions({"FP32": 1, "INT8": 30, "FP16": 4}, {"FP16": 2, "INT8": 28}, 3)
    assert found.line() == (
        "layers by precision: 30 INT8, 4 FP16, 1 FP32; 30 convolutions: 28 INT8, 2 FP16; "
        "3 reformats"
    )
    assert LayerPrecisions({}, {"FP32": 78}).line() == "78 convolutions: 78 FP32"


def test_the_graph_says_what_is_quantised(plan_models):
    for name, expected in (("fp32", {"FP16": 78}), ("turned_int8", {"INT8": 78})):
        model = onnx.load(plan_models / f"{name}.onnx")
        assert graph_layers(model, "FP16") == LayerPrecisions({}, expected)
