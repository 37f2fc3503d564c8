"""In place of a plan on a GPU: the graph that it was built from, in ONNX Runtime, or spoilt."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
from odtk_ray.exports.onnx.half_types import to_half

INFORMATION = json.dumps(
    {"Layers": [
        {"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "Half"}]},
        {"LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Float"}]},
    ]}
)  # fmt: skip


class OnTheCpu(OnnxRuntimeEngine):
    """What runs in the place of a plan."""

    def information(self):
        return INFORMATION


def standing_in(graph, change=lambda model: None):
    """Opens `graph` where a plan would be opened; sees that the plan is there by then."""

    @contextmanager
    def open_built(path, about, batch):
        assert read_sidecar(path) == about
        model = onnx.load(graph)
        change(model)
        stand_in = Path(path).with_name("stand-in.onnx")
        onnx.save(model, stand_in)
        post = about.model.post
        yield OnTheCpu(str(stand_in), post, launch_batch=batch, threads=2)

    return open_built


def half(model):
    """To FP16, in place."""
    model.CopyFrom(to_half(model))


def spoil(model):
    """Another box head, in place."""
    (weight,) = (t for t in model.graph.initializer if t.name == "box_head.8.weight")
    array = onnx.numpy_helper.to_array(weight) * 1.5 + 0.05
    weight.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), weight.name))


def overflow(model):
    """An infinite bias, in place."""
    (bias,) = (t for t in model.graph.initializer if t.name == "cls_head.8.bias")
    array = onnx.numpy_helper.to_array(bias) * np.float32(np.nan)
    bias.CopyFrom(onnx.numpy_helper.from_array(array, bias.name))
