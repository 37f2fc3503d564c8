"""Configurations, read by protobuf with Triton's own schema."""

from __future__ import annotations

import dataclasses
import json

import pytest
from google.protobuf import text_format

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.exports.triton.model_config import labels, model_config

schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")

# DataType in Triton's model_config.proto
FP32, INT32 = 11, 8
STRANGE = ('a "quoted" \\ name', "two\nlines", "Bäume")


@pytest.fixture(scope="module")
def about(plan_models):
    return read_exported(plan_models / "ended.onnx")


def parsed(*arguments):
    return text_format.Parse(model_config(*arguments), schema.ModelConfig())


def test_ends_have_the_names_types_and_dimensions_of_the_file(about):
    config = parsed("m", about, "onnxruntime", 16)
    assert (config.name, config.backend, config.max_batch_size) == ("m", "onnxruntime", 16)
    ends = [(end.name, end.data_type, list(end.dims)) for end in (*config.input, *config.output)]
    assert ends == [
        ("input_1", FP32, [3, 64, 96]),
        ("scores", FP32, [100]),
        ("boxes", FP32, [100, 4]),
        ("classes", INT32, [100]),
    ]


def test_boxes_of_rotated_models_have_six_numbers(about):
    config = parsed("m", dataclasses.replace(about, angles=(0.0,)), "onnxruntime", 16)
    assert list(config.output[1].dims) == [100, 6]


@pytest.mark.parametrize(("most", "batching"), [(16, True), (1, False)])
def test_requests_are_joined_where_the_model_takes_more_than_one_image(about, most, batching):
    assert parsed("m", about, "tensorrt", most).HasField("dynamic_batching") is batching


def test_the_model_runs_on_zeros_before_it_is_served(about):
    (sample,) = parsed("m", about, "tensorrt", 8).model_warmup
    given = sample.inputs["input_1"]
    assert (sample.batch_size, given.data_type, list(given.dims)) == (1, FP32, [3, 64, 96])
    assert given.zero_data


def test_clients_find_what_they_need_whatever_classes_are_called(about):
    strange = dataclasses.replace(about, class_names=STRANGE, category_ids=(7, "x", 9))
    found = parsed("m", strange, "tensorrt", 8).parameters
    facts = {key: json.loads(found[key].string_value) for key in found}
    assert facts == {
        "mean": list(about.mean),
        "std": list(about.std),
        "class_names": list(STRANGE),
        "category_ids": [7, "x", 9],
        "checkpoint": about.checkpoint,
    }


@pytest.mark.parametrize(("names", "ids", "text"), [
    (STRANGE, None, 'a "quoted" \\ name\ntwo lines\nBäume\n'),
    (None, (7, 8, 9), "7\n8\n9\n"),
    (None, None, "0\n1\n2\n"),
])  # fmt: skip
def test_labels_have_a_line_for_each_class(about, names, ids, text):
    assert labels(dataclasses.replace(about, class_names=names, category_ids=ids)) == text
