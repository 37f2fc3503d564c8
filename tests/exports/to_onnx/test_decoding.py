"""The graph's decoding and suppression against `ops`, alone, with values no network would give."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from synthetic import ABOUT

from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.exports.onnx.decoding import add_postprocess
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.ops.decode_heads import decode_heads
from odtk_ray.ops.nms import nms
from odtk_ray.settings import Postprocessing

STRIDES = (8, 16, 32, 64, 128)
ANCHORS = [generate_anchors(stride, (1.0, 2.0), (4.0,), "current") for stride in STRIDES]


# Of a rotated model, with as many anchors a cell.
TURNED = {"ratios": (1.0,), "angles": (-0.5, 0.5)}


def described(post, classes=3, **options):
    """Two anchors a cell."""
    about = dataclasses.replace(
        ABOUT,
        classes=classes,
        class_names=None,
        category_ids=None,
        ratios=(1.0, 2.0),
        anchor_boxes=tuple(tuple(map(tuple, table.tolist())) for table in ANCHORS),
        outputs="detections",
        post=post,
    )
    return dataclasses.replace(about, **options)


def session(about):
    builder = GraphBuilder()
    add_postprocess(builder, about)
    inputs = [
        helper.make_tensor_value_info(
            f"{name}_{i}", TensorProto.FLOAT, ["batch", 2 * n, level.height, level.width]
        )
        for name, n in (("score", about.classes), ("box", about.box_values))
        for i, level in enumerate(about.levels, start=1)
    ]
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    outputs = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in zip(about.output_names, kinds, strict=True)
    ]
    model = helper.make_model(
        builder.graph("tail", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def compare(about, scores, deltas):
    names = [f"{kind}_{i}" for kind in ("score", "box") for i in range(1, 6)]
    feeds = dict(zip(names, [*scores, *deltas], strict=True))
    found = session(about).run(None, feeds)
    post = about.post
    candidates = decode_heads(
        [torch.from_numpy(array) for array in scores],
        [torch.from_numpy(array) for array in deltas],
        ANCHORS,
        STRIDES,
        threshold=post.threshold,
        top_n=post.top_n,
        rotated=about.rotated,
    )
    expected = nms(
        *candidates,
        threshold=post.nms,
        detections=post.detections,
        own_angles=post.rotated_nms == "own",
    )
    np.testing.assert_array_equal(found[0], expected[0].numpy())
    np.testing.assert_array_equal(found[2], expected[2].numpy())
    # Their exp, and hypot and sqrt, may differ in the last bit.
    np.testing.assert_allclose(found[1], expected[1].numpy(), rtol=1e-5, atol=1e-4)
    return found


def random_outputs(rng, about, images=2, distinct=None):
    scores, deltas = [], []
    for level in about.levels:
        place = (level.height, level.width)
        values = rng.random((images, 2 * about.classes, *place), dtype=np.float32)
        if distinct:  # many equal scores
            values = np.floor(values * distinct).astype(np.float32) / np.float32(distinct)
        scores.append(values)
        channels = 2 * about.box_values
        deltas.append(rng.normal(0, 0.5, (images, channels, *place)).astype(np.float32))
    return scores, deltas


@pytest.mark.parametrize(
    ("post", "distinct"),
    [
        (Postprocessing(1.0), None),  # nothing is over it
        (Postprocessing(), None),
        (Postprocessing(0.0, 1000, 0.3, 200), None),
        (Postprocessing(0.5, 7, 0.5, 100), 8),
        (Postprocessing(0.25, 30, 0.0, 50), 4),  # scores equal to the threshold
        (Postprocessing(0.9, 1000, 1.0, 300), 16),
    ],
)
def test_detections_are_those_of_ops(post, distinct):
    about = described(post)
    rng = np.random.default_rng(7)
    found = compare(about, *random_outputs(rng, about, distinct=distinct))
    assert np.any(found[0]) == (post.threshold < 1)


@pytest.mark.parametrize(
    ("post", "distinct"),
    [
        (Postprocessing(1.0), None),
        (Postprocessing(), None),
        (Postprocessing(0.0, 1000, 0.3, 200), None),
        (Postprocessing(0.0, 1000, 0.3, 200, "odtk"), None),
        (Postprocessing(0.25, 30, 0.0, 50), 4),
        (Postprocessing(0.25, 30, 0.0, 50, "odtk"), 4),
        (Postprocessing(0.9, 1000, 1.0, 300), 16),
    ],
)
def test_rotated_detections_are_those_of_ops(post, distinct):
    about = described(post, **TURNED)
    rng = np.random.default_rng(17)
    found = compare(about, *random_outputs(rng, about, distinct=distinct))
    assert np.any(found[0]) == (post.threshold < 1)
    assert found[1].shape == (2, post.detections, 6)
    used = found[0] > 0
    np.testing.assert_allclose(np.hypot(*found[1][used][:, 4:].T), 1, atol=1e-6)


def test_each_way_to_compare_angles_is_told_apart():
    outputs = random_outputs(np.random.default_rng(18), described(Postprocessing(), **TURNED))
    ways = [described(Postprocessing(0.3, 100, 0.3, 100, way), **TURNED) for way in ("own", "odtk")]
    own, odtk = (compare(about, *outputs) for about in ways)
    assert np.any(own[1] != odtk[1])


@pytest.mark.parametrize("turned", [{}, TURNED])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 90.0, -90.0, 1e30, -1e30])
def test_odd_deltas(odd, turned):
    about = described(Postprocessing(0.3, 40, 0.4, 60), **turned)
    rng = np.random.default_rng(1)
    scores, deltas = random_outputs(rng, about)
    for array in deltas:
        array[rng.random(array.shape) < 0.1] = odd
    compare(about, scores, deltas)


@pytest.mark.parametrize("turned", [{}, TURNED])
def test_odd_scores(turned):
    about = described(Postprocessing(0.3, 40, 0.4, 60), **turned)
    rng = np.random.default_rng(2)
    scores, deltas = random_outputs(rng, about)
    for array in scores:
        array[rng.random(array.shape) < 0.1] = np.nan
    compare(about, scores, deltas)


@pytest.mark.parametrize("turned", [{}, TURNED])
def test_inverted_boxes_suppress_as_in_ops(turned):
    """Boxes shifted far out are clipped on one side only, so that x2 < x1."""
    about = described(Postprocessing(0.3, 60, 0.2, 80), **turned)
    rng = np.random.default_rng(3)
    scores, deltas = random_outputs(rng, about)
    for array in deltas:
        shifts = array[:, :: about.box_values]
        shifts -= rng.choice([0, 3, 8], shifts.shape).astype(np.float32)
    found = compare(about, scores, deltas)
    assert np.any(found[1][..., 2] < found[1][..., 0])
