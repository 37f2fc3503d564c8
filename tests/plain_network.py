"""A small exported model that numpy can compute: for machines without torch and ONNX Runtime."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper
from synthetic import ABOUT

from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.images.normalise import normalised_batch
from odtk_ray.settings import Postprocessing

SIZE = (128, 128)  # every level has half the side of the one before
CHANNELS = 32
_STRIDE = 8  # of the stem, and of P3


def described(rotated):
    """What such a model says about itself: one anchor a cell, two classes."""
    boxes = tuple(((-s, -s, 2.0 * s, 2.0 * s),) for s in ABOUT.strides)
    return dataclasses.replace(
        ABOUT,
        size=SIZE,
        anchor_boxes=boxes,
        angles=(0.0,) if rotated else None,
        post=Postprocessing(threshold=0.2, top_n=50, nms=0.4, detections=20),
    )


class PlainNetwork:
    """Patches of 8 x 8 pixels, a ReLU, means of 2 x 2 from level to level, heads of 1 x 1.

    Args:
        rotated: whether the boxes are rotated.
    """

    def __init__(self, rotated):
        self.about = described(rotated)
        rng = np.random.default_rng(3)

        def weights(*shape, scale):
            return rng.normal(0, scale, shape).astype(np.float32)

        self.stem = weights(CHANNELS, 3, _STRIDE, _STRIDE, scale=0.05)
        self.scores = weights(self.about.classes, CHANNELS, 1, 1, scale=0.6)
        self.deltas = weights(self.about.box_values, CHANNELS, 1, 1, scale=0.1)

    def save(self, path, int8=False):
        """Write it as `odtk-ray export` would; INT8 quantises inputs and weights of the heads."""
        about = dataclasses.replace(self.about, precision="int8" if int8 else "fp32")
        builder = GraphBuilder()
        stem = builder.constant("stem.weight", self.stem)
        builder.add("Conv", "stem", "input_1", stem, kernel_shape=[_STRIDE] * 2,
                    strides=[_STRIDE] * 2)  # fmt: skip
        level = builder.add("Relu", "stem.relu", "stem")
        for i in range(1, 6):
            if i > 1:
                level = builder.add("AveragePool", f"mean_{i}", level, kernel_shape=[2, 2],
                                    strides=[2, 2])  # fmt: skip
            source = _quantised(builder, f"in_{i}", level, np.float32(4 / 127)) if int8 else level
            for name, weight in (("scores", self.scores), ("deltas", self.deltas)):
                kernel = builder.constant(f"{name}.weight", weight)
                if int8:
                    scale = np.abs(weight).max(axis=(1, 2, 3)) / np.float32(127)
                    kernel = _quantised(builder, f"{name}.weight.{i}", kernel, scale, axis=0)
                out = "logits" if name == "scores" else "box"
                builder.add("Conv", f"{out}_{i}", source, kernel, kernel_shape=[1, 1])
            builder.add("Sigmoid", f"score_{i}", f"logits_{i}")
        shape = ["batch", 3, *SIZE]
        ends = [helper.make_tensor_value_info("input_1", TensorProto.FLOAT, shape)]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
            for name, shape in zip(about.output_names, about.raw_shapes, strict=True)
        ]
        model = helper.make_model(
            builder.graph("plain", ends, outputs),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        helper.set_model_props(model, about.to_metadata())
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)

    def raw(self, pictures):
        """The raw outputs for pictures uint8 [h, w, 3], as numpy computes them in float64."""
        batch = normalised_batch(pictures, len(pictures), self.about.size).astype(np.float64)
        side = SIZE[0] // _STRIDE
        cut = batch.reshape(len(batch), 3, side, _STRIDE, side, _STRIDE)
        level = np.maximum(np.einsum("bciyjx,ocyx->boij", cut, self.stem), 0)
        scores, deltas = [], []
        for _ in range(5):
            logits = np.einsum("bcij,ocyx->boij", level, self.scores)
            scores.append(1 / (1 + np.exp(-logits)))
            deltas.append(np.einsum("bcij,ocyx->boij", level, self.deltas))
            half = level.shape[2] // 2
            if half:
                level = level.reshape(*level.shape[:2], half, 2, half, 2).mean(axis=(3, 5))
        return scores + deltas


def _quantised(builder, name, tensor, scale, **axis):
    scales = builder.constant(f"{name}/scale", np.asarray(scale, np.float32))
    zero = builder.constant(f"{name}/zero", np.zeros(np.shape(scale), np.int8))
    codes = builder.add("QuantizeLinear", f"{name}/codes", tensor, scales, zero, **axis)
    return builder.add("DequantizeLinear", f"{name}/values", codes, scales, zero, **axis)


def pictures(count=3):
    """Seeded noise of sizes that fit."""
    rng = np.random.default_rng(8)
    sizes = [SIZE, (128, 90), (77, 128), (31, 40)]
    coarse = [rng.integers(0, 256, (-(-h // 8), -(-w // 8), 3), dtype=np.uint8) for h, w in sizes]
    whole = [c.repeat(8, axis=0).repeat(8, axis=1) for c in coarse]
    return [p[:h, :w].copy() for p, (h, w) in zip(whole, sizes, strict=True)][:count]
