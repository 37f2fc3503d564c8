"""Sidecars, ONNX metadata, engines.json and calibration tables that somebody edited or cut off."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import onnx
import pytest
from effort import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from mutations import damaged, edited, edited_text, one_sentence
from onnx import TensorProto, helper
from synthetic import ABOUT

from odtk_ray.artifacts.engine_set import EngineSet
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.exports.int8.calibration_table import CalibrationTable, check_replaceable, read_table
from odtk_ray.model.describe_model import describe_model

PLAN = b"0123456789"
SIDECAR = Sidecar(
    model=ABOUT, batches=(1, 4, 8), tensorrt="tensorrt 11.4.0", gpu=("NVIDIA H100", "9.0"),
    capabilities=("9.0",), workspace=1 << 30, plan_sha256=hashlib.sha256(PLAN).hexdigest(),
    plan_bytes=len(PLAN),
)  # fmt: skip
SET = EngineSet.of([SIDECAR, replace(SIDECAR, gpu=("NVIDIA A10G", "8.6"), batches=(2, 4, 16))])
TABLE = CalibrationTable(
    method="entropy", model="ab" * 32, size=(64, 96), images=("cd" * 32,), names=("a.jpg",),
    amax={"input": 2.6, "p3": 0.5}, version="0.1.0",
)  # fmt: skip

fuzz = examples(600, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def with_right_hash(text):
    """The identity that a program would write beside what it edited, if it can be computed."""
    try:
        facts = json.loads(text)
        known = {
            k: v for k, v in facts.items() if k not in ("identity", "plan_sha256", "plan_bytes")
        }
        facts["identity"] = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[
            :32
        ]
        return json.dumps(facts).encode()
    except (ValueError, AttributeError, RecursionError):
        return text


@fuzz
@given(data=st.data())
def test_sidecars(tmp_path, data):
    (tmp_path / "m.plan").write_bytes(PLAN)
    text = edited_text(data.draw, SIDECAR.to_json().encode())
    if data.draw(st.booleans(), label="as a program would"):
        text = with_right_hash(text)
    (tmp_path / "m.plan.json").write_bytes(text)
    with one_sentence():
        describe_model(str(tmp_path / "m.plan"), "auto")


@fuzz
@given(data=st.data())
def test_engine_sets(tmp_path, data):
    (tmp_path / "engines.json").write_bytes(edited_text(data.draw, SET.to_json().encode()))
    with one_sentence():
        describe_model(str(tmp_path), "auto")


@pytest.fixture(scope="module")
def graph():
    ends = {name: ["batch", *dims] for name, dims in ABOUT.end_shapes.items()}
    x, *y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in ends.items())
    nodes = [helper.make_node("Identity", ["input_1"], [name]) for name in ABOUT.output_names]
    return helper.make_model(helper.make_graph(nodes, "g", [x], y))


@fuzz
@given(data=st.data())
def test_onnx_metadata(tmp_path, graph, data):
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    facts = ABOUT.to_metadata()
    values = edited(data.draw, {key: json.loads(value) for key, value in facts.items()})
    texts = {key: json.dumps(value) for key, value in values.items()}
    if data.draw(st.booleans(), label="a text that is not JSON"):
        key = data.draw(st.sampled_from(sorted(facts)))
        texts[key] = damaged(data.draw, facts[key].encode()).decode("latin-1")
    helper.set_model_props(model, {k: v for k, v in texts.items() if k.isprintable()})
    content = model.SerializeToString()
    if data.draw(st.booleans(), label="damaged"):
        content = damaged(data.draw, content)
    (tmp_path / "m.onnx").write_bytes(content)
    with one_sentence():
        describe_model(str(tmp_path / "m.onnx"), "auto")


@fuzz
@given(data=st.data())
def test_calibration_tables(tmp_path, data):
    path = tmp_path / "table.json"
    path.write_bytes(edited_text(data.draw, TABLE.to_json().encode()))
    for read in (read_table, check_replaceable):
        with one_sentence():
            read(str(path))
