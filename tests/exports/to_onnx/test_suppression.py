"""The graph's suppression alone against `ops.nms`, candidate by candidate."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from synthetic import ABOUT

from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.exports.onnx.suppression import add_nms
from odtk_ray.ops.nms import nms
from odtk_ray.settings import Postprocessing

BATCH, COUNT, CLASSES = 2, 60, 2


def graph(values, post, opset=17):
    """Candidates in, detections out."""
    about = dataclasses.replace(
        ABOUT, angles=(0.0,) if values == 6 else None, outputs="detections", post=post
    )
    builder = GraphBuilder()
    names = ("score", "box", "class")
    add_nms(builder, about, *names, COUNT)
    columns = ((TensorProto.FLOAT, ()), (TensorProto.FLOAT, (values,)), (TensorProto.INT64, ()))
    inputs = [
        helper.make_tensor_value_info(name, kind, ["batch", COUNT, *more])
        for name, (kind, more) in zip(names, columns, strict=True)
    ]
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    shapes = [("batch", post.detections, *more) for more in ((), (values,), ())]
    outputs = [
        helper.make_tensor_value_info(*row)
        for row in zip(about.output_names, kinds, shapes, strict=True)
    ]
    return helper.make_model(
        builder.graph("nms", inputs, outputs),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=7,
    )


@functools.cache
def suppression(values, threshold, angles, opset=17):
    """A session, and what `ops` does in its place."""
    post = Postprocessing(nms=threshold, detections=20, rotated_nms=angles)
    session = onnxruntime.InferenceSession(
        graph(values, post, opset).SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def run(scores, boxes, classes):
        return session.run(None, {"score": scores, "box": boxes, "class": classes})

    def expected(*columns):
        kept = nms(
            *map(torch.from_numpy, columns),
            threshold=threshold,
            detections=20,
            own_angles=angles == "own",
        )
        return [column.numpy() for column in kept]

    return run, expected


def candidates(seed, values, *, odd=0.0, alike=0.3, tied=0.2):
    """Boxes in heaps: some nearly alike, some thin, some odd, scores that tie, empty slots."""
    rng = np.random.default_rng(seed)
    shape = (BATCH, COUNT)
    aspect = rng.normal(0, 0.8, shape)
    sides = np.exp(rng.uniform(1, 4, (*shape, 1)) + np.stack([aspect, -aspect], axis=-1))
    centres = rng.choice([0.0, 40.0], (*shape, 2)) + rng.normal(0, 4, (*shape, 2))
    theta = rng.uniform(-math.pi, math.pi, shape)
    like = rng.integers(0, COUNT, shape)  # some boxes are others, moved a little
    image = np.arange(BATCH)[:, None]
    copied = rng.random(shape) < alike
    for array, noise in ((sides, 0.0), (centres, 1.0), (theta, 0.05)):
        array[copied] = (array[image, like] + rng.normal(0, noise, array.shape))[copied]
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)
    if values == 6:
        boxes = np.concatenate([boxes, np.stack([np.sin(theta), np.cos(theta)], -1)], axis=-1)
    boxes = boxes.astype(np.float32)
    # Decoding gives every box a direction; its corners can be anything.
    strange = (rng.random(boxes.shape) < odd) & (np.arange(values) < 4)
    boxes[strange] = rng.choice([np.nan, np.inf, -np.inf, 0, -500, 3e38], strange.sum())
    scores = rng.random(shape, dtype=np.float32)
    scores[rng.random(shape) < tied] = 0.5
    scores[rng.random(shape) < 0.1] = 0
    return scores, boxes, rng.integers(0, CLASSES, shape)


THRESHOLDS = (0.0, 0.1, 0.5, 1.0)


@given(
    seed=st.integers(0, 2**32),
    values=st.sampled_from([4, 6]),
    threshold=st.sampled_from(THRESHOLDS),
    angles=st.sampled_from(["own", "odtk"]),
    odd=st.sampled_from([0.0, 0.0, 0.02]),
)
@examples(80)
def test_the_same_boxes_survive(seed, values, threshold, angles, odd):
    run, expected = suppression(values, threshold, angles)
    columns = candidates(seed, values, odd=odd)
    for one, two in zip(run(*columns), expected(*columns), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("values", [4, 6])
def test_a_threshold_makes_a_difference(values):
    """So that the test above says something: of the 20 best many go where little is tolerated."""
    columns = candidates(5, values)
    strict, lax = (suppression(values, threshold, "own")[0] for threshold in (0.1, 1.0))
    best, kept = ({tuple(row) for row in run(*columns)[1].reshape(-1, values).tolist()}
                  for run in (lax, strict))  # fmt: skip
    assert len(best & kept) < 0.8 * len(best)


@pytest.mark.parametrize("angles", ["own", "odtk"])
@pytest.mark.parametrize("share", [-1e-6, 1e-6])
def test_the_iou_is_exact_at_the_threshold(angles, share):
    """Two boxes 10 x 10, turned alike, one moved along its own side by d: IoU (10 - d) / (10 + d).

    It is 0.5 at d = 10 / 3; a millionth more or less decides. Far from the origin, where float32
    has steps of 1/128 pixels, differences are still exact: the corners are multiples of 1/128.
    """
    moved = round((10 / 3) * 128) / 128  # 3.3359: IoU 0.49969
    iou = (10 - moved) / (10 + moved)
    post = Postprocessing(nms=iou * (1 + share), detections=20, rotated_nms=angles)
    session = onnxruntime.InferenceSession(
        graph(6, post).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    boxes = np.zeros((1, COUNT, 6), np.float32)
    at = 90000.0
    boxes[0, :2, :4] = [[at, at, at + 10, at + 10], [at, at + moved, at + 10, at + 10 + moved]]
    boxes[0, :2, 4:] = [1.0, 0.0]  # a quarter turn: the move along y is along its side
    scores = np.zeros((1, COUNT), np.float32)
    scores[0, :2] = [0.9, 0.8]
    feeds = {"score": scores, "box": boxes, "class": np.zeros((1, COUNT), np.int64)}
    kept = int((session.run(None, feeds)[0] > 0).sum())
    assert kept == (2 if share > 0 else 1)


@pytest.mark.parametrize("opset", [13, 14, 15, 16])
def test_every_opset_suppresses_alike(opset):
    columns = candidates(11, 6)
    newest, _ = suppression(6, 0.3, "own")
    older, _ = suppression(6, 0.3, "own", opset)
    for one, two in zip(newest(*columns), older(*columns), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("values", [4, 6])
def test_shapes_and_operators_are_standard(values):
    model = graph(values, Postprocessing())
    onnx.checker.check_model(model, full_check=True)
    body = next(node for node in model.graph.node if node.op_type == "Loop").attribute[0].g
    domains = {node.domain for node in [*model.graph.node, *body.node]}
    assert domains == {""}
