"""What ONNX files and sidecars say is read, checked and written as by Python."""

import copy
import dataclasses
import hashlib
import json
import math
import os

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from synthetic import ABOUT

from odtk_ray.artifacts.exported_model import parse_model, read_exported
from odtk_ray.artifacts.onnx_metadata import graph_ends, metadata_props
from odtk_ray.artifacts.sidecar import Sidecar, parse_sidecar, read_sidecar
from odtk_ray.errors import UsageError
from odtk_ray.settings import Postprocessing
from odtk_ray.typed_json import parse_json

GPU = ("NVIDIA Orin (nvgpu)", "8.7")
FACTS = {name: json.loads(text) for name, text in ABOUT.to_metadata().items()}
ROTATED = dataclasses.replace(
    ABOUT,
    angles=(-math.pi / 6, 0.0, math.pi / 6),
    anchor_boxes=tuple(tuple(table * 3) for table in ABOUT.anchor_boxes),
    category_ids=None,
    class_names=None,
    post=Postprocessing(0, 1, 1, 1_000_000, "odtk"),
    size=(1280, 32),
    precision="int8",
    outputs="plugin",
)
TWO_BACKBONES = dataclasses.replace(
    ABOUT,
    backbones=("ResNet18FPN", "ResNet50FPN"),
    strides=ABOUT.strides * 2,
    anchor_boxes=ABOUT.anchor_boxes * 2,
    outputs="detections",
)
MODELS = {"plain": ABOUT, "rotated": ROTATED, "two backbones": TWO_BACKBONES}


def asker(unit, *arguments):
    @pytest.fixture(scope="module")
    def ask(units):
        with units.answers(unit, *arguments) as ask:
            yield lambda text: ask(text if isinstance(text, bytes) else text.encode())

    return ask


ask_model = asker("model")
ask_exported = asker("exported")
ask_onnx = asker("onnx")
ask_sidecar = asker("sidecar")
ask_int8_sidecar = asker("sidecar", "int8")
ask_plan = asker("plan")


def values_of(model):
    """What the unit says of a model."""
    levels = [
        [level.label, level.stride, level.height, level.width, level.anchors.astype(float).tolist()]
        for level in model.levels
    ]
    facts = {k.removeprefix("odtk_ray."): json.loads(v) for k, v in model.to_metadata().items()}
    ids = model.category_ids
    values = dataclasses.asdict(model) | {
        "facts": facts,
        "category_ids": None if ids is None else [json.dumps(i) for i in ids],
        "post": list(dataclasses.asdict(model.post).values()),
        "levels": levels,
        "output_names": model.output_names,
        "raw_shapes": model.raw_shapes,
    }
    del values["strides"], values["anchor_boxes"]
    return json.loads(json.dumps(values))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_description_is_read(ask_model, model):
    facts = {name: json.loads(text) for name, text in model.to_metadata().items()}
    expected = values_of(dataclasses.replace(model, sha256="ab"))
    answer = json.loads(ask_model(json.dumps(facts)))
    assert answer == expected
    assert list(answer["facts"]) == list(expected["facts"])
    backwards = dict(reversed(facts.items()))
    backwards["odtk_ray.post"] = dict(reversed(backwards["odtk_ray.post"].items()))
    again = ask_model(json.dumps(backwards))
    assert again == ask_model(json.dumps(facts))


# Nothing that is printed otherwise than as it is.
SIMPLE_TEXTS = st.text(
    st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("é\n'😀")
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-10, 1_000_001)
    | st.floats()
    | st.floats(-2, 2)
    | SIMPLE_TEXTS
    | st.sampled_from(["own", "raw", "fp16", "current", 8, 32, 64, 1e6, 1 << 64, (1 << 64) - 1])
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(SIMPLE_TEXTS, inner), max_leaves=10
)


@st.composite
def edited(draw, facts):
    """Facts, in which up to two values were replaced, added or removed."""
    facts = copy.deepcopy(facts)
    for _ in range(draw(st.integers(1, 2))):
        place = facts
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if not (isinstance(inner, (dict, list)) and inner and draw(st.booleans())):
                break
            place = inner
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "replace":
            place[key] = draw(VALUES)
        elif kind == "remove":
            del place[key]
        elif isinstance(place, dict):
            place[draw(SIMPLE_TEXTS)] = draw(VALUES)
        else:
            place.append(draw(VALUES))
        if not facts:
            break
    return facts


def outcome(function, *arguments):
    """The result, or the text of the error in the unit's form."""
    try:
        return function(*arguments), None
    except UsageError as error:
        return None, f"{error.what}\n{error.why}\n{error.hint}"
    except ValueError as error:
        return None, str(error)


@given(facts=edited(FACTS))
def test_edited_descriptions_are_judged_as_in_python(ask_model, facts):
    text = json.dumps(facts)
    expected, wrong = outcome(parse_model, "m.onnx", json.loads(text), "ab")
    answer, error = outcome(ask_model, text)
    assert error == wrong
    if expected is not None:
        assert json.loads(answer) == values_of(expected)


@pytest.mark.parametrize("text", ["[" * 400 + "]" * 400, '"' + "x" * 100 + '"', "1" * 100, "{}"])
def test_long_values_are_shortened_as_in_python(ask_model, text):
    facts = FACTS | {"odtk_ray.std": json.loads(text), "x" * 70 + "é": 1}
    for some in (facts, FACTS | {"odtk_ray.std": json.loads(text)}, {"format": json.loads(text)}):
        _, wrong = outcome(parse_model, "m.onnx", some, "ab")
        assert outcome(ask_model, json.dumps(some)) == (None, wrong)


def message(number, *parts):
    """A field of protobuf with a length."""
    content = b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def end_info(field, name, dimensions):
    dims = [message(1, message(2, "N") if d is None else b"\x08" + varint(d)) for d in dimensions]
    return message(field, message(1, name), message(2, message(1, b"\x08\x01", message(2, *dims))))


def onnx_file(model):
    """An ONNX file without nodes that says what a model is."""
    ends = [
        end_info(11 if name == "input_1" else 12, name, (None, *shape))
        for name, shape in model.end_shapes.items()
    ]
    metadata = [
        message(14, message(1, key), message(2, value))
        for key, value in model.to_metadata().items()
    ]
    return b"\x08\x08" + message(2, "pytorch") + message(7, *ends) + b"".join(metadata)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_file_says_what_python_reads(ask_exported, tmp_path, model):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_file(model))
    assert json.loads(ask_exported(str(path))) == values_of(read_exported(path))


def test_an_exported_file_is_read(ask_exported, graph):
    assert json.loads(ask_exported(str(graph))) == values_of(read_exported(graph))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 is a zip",
        b"\xff" * 100,
        b"\x0a\xff\xff\xff\x0f",
        b"\x72\x03\x12\x01x",  # metadata without a key
        message(14, message(1, "a"), message(2, "b")),
        onnx_file(ABOUT)[:-50],
        onnx_file(ABOUT)[:1000],
        onnx_file(ABOUT) + message(14, message(1, "odtk_ray.size"), message(2, "[64")),
        onnx_file(ABOUT) + message(14, message(1, "odtk_ray.size"), message(2, "[32, 96]")),
        onnx_file(ABOUT) + message(14, message(1, "odtk_ray.format"), message(2, "2")),
        onnx_file(ABOUT) + message(7, end_info(12, "odd", (1, 2))),
        onnx_file(ABOUT) + message(7, end_info(12, "box_5", ())),
        onnx_file(ABOUT) + message(7, message(11, message(2, ""))),
    ],
)
def test_bad_files_are_refused_as_in_python(ask_exported, tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    _, wrong = outcome(read_exported, path)
    assert wrong is not None
    assert outcome(ask_exported, str(path)) == (None, wrong)


def test_files_that_cannot_be_read_are_refused_as_in_python(ask_exported, tmp_path):
    for path in (tmp_path, tmp_path / "none.onnx"):
        _, wrong = outcome(read_exported, path)
        assert outcome(ask_exported, str(path)) == (None, wrong)


@given(
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), max_size=3),
    cut=st.integers(0, 10_000),
)
def test_damaged_files_are_read_as_by_python(ask_onnx, changes, cut):
    data = bytearray(onnx_file(ABOUT))
    for at, new in changes:
        data[at % len(data) : at % len(data) + len(new)] = new
    data = bytes(data[: len(data) - cut // 50])

    def read():
        try:
            metadata, ends = dict(metadata_props(data)), graph_ends(data)
        except LookupError as error:
            raise ValueError from error
        return [metadata, {k: [d if d is None else str(d) for d in v] for k, v in ends.items()}]

    expected, wrong = outcome(read)
    answer, error = outcome(ask_onnx, data)
    assert (error is None) == (wrong is None), (error, wrong)
    if wrong is None:
        # Python's numbers have no greatest.
        assume(all(d is None or int(d) < 1 << 64 for dims in expected[1].values() for d in dims))
        assert json.loads(answer) == expected


def sidecar(plan=b"plan", **changes):
    about = Sidecar(
        model=dataclasses.replace(ABOUT, sha256="cd" * 32),
        batches=(1, 8, 16),
        tensorrt="tensorrt 8.5.2",
        gpu=GPU,
        capabilities=(),
        workspace=1 << 30,
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        plan_bytes=len(plan),
    )
    return dataclasses.replace(about, **changes)


NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1_000_000, 1_000_000)
SIZES = st.integers(1, 100).map(lambda n: 32 * n)


@st.composite
def sidecars(draw):
    post = Postprocessing(
        draw(st.floats(0, 1) | st.integers(0, 1)),
        draw(st.integers(1, 1_000_000)),
        draw(st.floats(0, 1)),
        draw(st.integers(1, 1_000_000)),
        draw(st.sampled_from(["own", "odtk"])),
    )
    scale = draw(st.floats(1e-5, 7e3))
    tables = np.array(ABOUT.anchor_boxes, np.float32).astype(float) * scale
    model = dataclasses.replace(
        draw(st.sampled_from([ABOUT, ROTATED])),
        version=draw(st.text()),
        mean=(draw(NUMBERS), 0, draw(NUMBERS)),
        std=(draw(st.floats(1e-300, 1e6)), 5e-324, 1),
        size=(draw(SIZES), draw(SIZES)),
        post=post,
        sha256=draw(st.text()),
    )
    if not model.rotated:
        boxes = tuple(tuple(map(tuple, table)) for table in tables.tolist())
        names = tuple(draw(st.lists(st.text(), min_size=2, max_size=2)))
        ids = tuple(draw(st.lists(st.integers() | st.text(), min_size=2, max_size=2)))
        model = dataclasses.replace(model, anchor_boxes=boxes, class_names=names, category_ids=ids)
    return sidecar(
        model=model,
        batches=tuple(sorted(draw(st.tuples(*[st.integers(1, 1_000_000)] * 3)))),
        gpu=draw(st.none() | st.tuples(st.text(), st.text())),
        tensorrt=draw(st.text()),
        capabilities=tuple(draw(st.lists(st.text()))),
        workspace=draw(st.none() | st.integers(0, 1 << 50)),
        plan_bytes=draw(st.integers(0, 1 << 50)),
    )


@given(about=sidecars())
def test_sidecars_are_written_as_by_python(ask_sidecar, about):
    assert ask_sidecar(about.to_json()).decode() == about.to_json()


def test_a_sidecar_of_another_layout_is_written_as_python_writes_it(ask_sidecar, ask_int8_sidecar):
    about = sidecar()
    facts = json.loads(about.to_json())
    facts["model"] = dict(reversed(facts["model"].items()))
    mixed = dict(reversed(facts.items()))
    assert ask_sidecar(json.dumps(mixed)).decode() == about.to_json()
    assert ask_sidecar(b"\xef\xbb\xbf" + json.dumps(mixed).encode()).decode() == about.to_json()
    int8 = dataclasses.replace(about, model=dataclasses.replace(about.model, precision="int8"))
    assert ask_int8_sidecar(about.to_json()).decode() == int8.to_json()


def ours(text):
    """The hints of Python's errors, with the command of C++."""
    return text.replace("odtk-ray export MODEL OUTPUT.plan", "odtk_build MODEL.onnx OUTPUT.plan")


@given(facts=edited(json.loads(sidecar().to_json())))
def test_edited_sidecars_are_judged_as_in_python(ask_sidecar, facts):
    text = json.dumps(facts)
    about, wrong = outcome(lambda: parse_sidecar("m.plan", parse_json(text)))
    answer, error = outcome(ask_sidecar, text)
    assert error == (None if wrong is None else ours(wrong))
    if about is not None:
        assert answer.decode() == about.to_json()


def write_plan(folder, about, plan=b"plan"):
    path = folder / "my m.plan"
    path.write_bytes(plan)
    (folder / "my m.plan.json").write_text(about.to_json(), encoding="utf-8")
    return path


HERE = ("tensorrt 8.5.2", *GPU)


@pytest.mark.parametrize(
    ("changes", "here", "why"),
    [
        ({}, HERE, None),
        ({"tensorrt": "tensorrt 8.5.2.2"}, HERE, None),
        ({"gpu": None}, HERE, None),
        ({}, ("tensorrt 8.5.20", *GPU),
         "it was built by tensorrt 8.5.2 and this machine has tensorrt 8.5.20"),
        ({"tensorrt": "tensorrt 8.6.2"}, HERE,
         "it was built by tensorrt 8.6.2 and this machine has tensorrt 8.5.2"),
        ({"tensorrt": "tensorrt 8"}, HERE,
         "it was built by tensorrt 8 and this machine has tensorrt 8.5.2"),
        ({"tensorrt": "tensorrt_rtx 8.5.2"}, HERE,
         "it was built by tensorrt_rtx 8.5.2 and this machine has tensorrt 8.5.2"),
        ({}, ("tensorrt 8.5.2", "Xavier", "7.2"),
         "it was built on NVIDIA Orin (nvgpu) 8.7 and this machine has Xavier 7.2"),
        ({}, ("tensorrt 8.5.2", GPU[0], "7.2"),
         "it was built on NVIDIA Orin (nvgpu) 8.7 and this machine has NVIDIA Orin (nvgpu) 7.2"),
        ({"tensorrt": "tensorrt_rtx 1.2.0", "gpu": None, "capabilities": ("8.7",)}, HERE,
         "tensorrt_rtx 1.2.0 built it, and only odtk-ray runs such plans, in Python"),
    ],
)  # fmt: skip
def test_plans_of_other_machines_are_refused(ask_plan, tmp_path, changes, here, why):
    about = sidecar(**changes)
    path = write_plan(tmp_path, about)
    build = f"odtk_build MODEL.onnx '{path}' --fp32 --batches 1 8 16 --workspace 1024"
    answer, error = outcome(ask_plan, json.dumps([str(path), *here]))
    if why is None:
        assert answer.decode() == build
    else:
        assert error == f"cannot use model {path}\n{why}\nbuild it here: {build}"


@pytest.mark.parametrize(
    ("precision", "flags"), [("fp32", " --fp32"), ("fp16", " --fp16"), ("int8", "")]
)
def test_the_command_that_rebuilds_names_the_precision(ask_plan, tmp_path, precision, flags):
    model = dataclasses.replace(ABOUT, precision=precision)
    path = write_plan(tmp_path, sidecar(model=model, workspace=None))
    command = ask_plan(json.dumps([str(path), *HERE])).decode()
    assert command == f"odtk_build MODEL.onnx '{path}'{flags} --batches 1 8 16"


def test_plans_that_are_not_their_sidecars_are_refused(ask_plan, tmp_path):
    path = write_plan(tmp_path, sidecar())
    beside = path.with_name("my m.plan.json")
    again = "copy both files again, or build the plan again: odtk_build MODEL.onnx "
    mine = f"{again}'{path}' --fp32 --batches 1 8 16 --workspace 1024"

    def refused():
        error = outcome(ask_plan, json.dumps([str(path), *HERE]))[1]
        what, why, hint = error.split("\n")
        assert what == f"cannot use model {path}"
        return why, hint

    path.write_bytes(b"p" * 1234)
    assert refused() == ("it has 1,234 bytes and should have 4", mine)
    path.write_bytes(b"Plan")
    assert refused() == (f"it is not the plan that {beside} describes", mine)
    beside.write_text(beside.read_text(encoding="utf-8").replace("Orin", "Thor"), encoding="utf-8")
    assert refused() == (f"{beside} is damaged: it was edited", f"{again}OUTPUT.plan")
    beside.unlink()
    assert refused() == (f"{beside}: No such file or directory", f"{again}OUTPUT.plan")
    path.unlink()
    assert refused() == (f"{path}: No such file or directory", f"{again}OUTPUT.plan")


def test_a_plan_and_its_sidecar_are_what_python_reads(units, tmp_path):
    path, about = tmp_path / "m.plan", sidecar()
    units("write-plan", path, input=about.to_json().encode())
    assert read_sidecar(str(path)).identity == about.identity
    assert sorted(os.listdir(tmp_path)) == ["m.plan", "m.plan.json"]


@pytest.mark.parametrize("text", ["", "[", "{}", "null", '{"format": 1}', '{"format": 2}'])
def test_texts_that_are_no_sidecars_are_refused_as_in_python(ask_sidecar, text):
    _, wrong = outcome(lambda: parse_sidecar("m.plan", parse_json(text)))
    assert outcome(ask_sidecar, text) == (None, ours(wrong))
