"""engines.json: keys, what is read back, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import ABOUT

from odtk_ray.artifacts.engine_set import EngineSet, parse_engine_set
from odtk_ray.artifacts.plan_key import Variant, engine_key, key_of, slug, variant_of
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.errors import UsageError

H100 = Sidecar(
    model=replace(ABOUT, precision="fp16", sha256="cd" * 32), batches=(1, 4, 8),
    tensorrt="tensorrt 11.4.0", gpu=("NVIDIA H100 80GB HBM3", "9.0"), capabilities=(),
    workspace=1 << 30, plan_sha256="ef" * 32, plan_bytes=1234,
)  # fmt: skip
A10G = replace(H100, gpu=("NVIDIA A10G", "8.6"), plan_sha256="01" * 32, batches=(2, 4, 16))
BOTH = EngineSet.of([H100, A10G])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ""),
        ("NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3"),
        ("tensorrt_rtx 1.7.1.116", "tensorrt_rtx-1.7.1.116"),
        ("A/B (π) ", "A-B"),
        ("../x", "..-x"),
    ],
)
def test_names_become_parts_of_file_names(name, expected):
    assert slug(name) == expected


def test_a_key_says_what_a_plan_is_bound_to():
    assert key_of(H100) == "NVIDIA-H100-80GB-HBM3_sm90_tensorrt-11.4.0_fp16_64x96"


# Ray calls all of these by two names.
ALIKE = [
    ("NVIDIA A100-SXM4-40GB", "8.0"), ("NVIDIA A100-SXM4-80GB", "8.0"),
    ("NVIDIA A100-PCIE-40GB", "8.0"), ("Quadro RTX 6000", "7.5"),
    ("NVIDIA RTX 6000 Ada Generation", "8.9"), ("NVIDIA RTX A6000", "8.6"),
]  # fmt: skip


def test_gpus_that_ray_takes_for_one_have_keys_of_their_own():
    keys = {
        engine_key(gpu, trt, precision, size)
        for gpu in ALIKE
        for trt in ("tensorrt 11.4.0", "tensorrt 11.4.1", "tensorrt_rtx 11.4.0")
        for precision in ("fp32", "fp16", "int8")
        for size in ((64, 96), (96, 64))
    }
    assert len(keys) == len(ALIKE) * 3 * 3 * 2


@given(st.text(max_size=80), st.text(max_size=20))
def test_a_key_is_a_file_name_whatever_the_driver_says(name, tensorrt):
    key = engine_key((name, "9.0"), tensorrt, "fp16", (64, 96))
    assert key.isascii()
    assert not set(key) & set("/\\\0 :*?\n")


def test_a_set_is_read_back_and_the_order_does_not_matter():
    text = BOTH.to_json()
    assert parse_engine_set("engines", text.encode()) == BOTH
    assert EngineSet.of([A10G, H100]).to_json() == text
    entries = json.loads(text)["engines"]
    assert [entry["plan"] for entry in entries.values()] == [f"{key}.plan" for key in entries]


def test_a_set_has_several_precisions_and_sizes():
    models = [
        replace(H100.model, sha256="aa" * 32),
        replace(H100.model, precision="int8", sha256="bb" * 32),
        replace(H100.model, size=(96, 64), sha256="cc" * 32),
    ]
    both = (H100, A10G)
    engines = EngineSet.of(replace(about, model=model) for about in both for model in models)
    assert parse_engine_set("engines", engines.to_json().encode()) == engines
    names = ["64x96 FP16", "96x64 FP16", "64x96 INT8"]
    assert sorted(map(str, engines.variants)) == sorted(names)
    small = engines.only(Variant("int8", (64, 96)))
    assert {about.model.sha256 for about in small.engines.values()} == {"bb" * 32}
    assert {about.gpu for about in small.engines.values()} == {H100.gpu, A10G.gpu}
    assert small.batches == (2, 8)
    assert small.digest != engines.digest


def test_the_first_format_is_read():
    document = json.loads(BOTH.to_json())
    (network,) = document.pop("models").values()
    for entry in document["engines"].values():
        del entry["model"]
    data = json.dumps(document | network | {"format": 1}).encode()
    assert parse_engine_set("engines", data) == BOTH


def test_the_digest_changes_with_any_plan():
    again = EngineSet.of([H100, replace(A10G, plan_sha256="02" * 32)])
    assert again.digest != BOTH.digest == parse_engine_set("x", BOTH.to_json().encode()).digest
    assert BOTH.model == replace(H100.model, sha256=BOTH.digest)


def test_launches_are_those_that_every_plan_takes():
    assert BOTH.batches == (2, 8)


@pytest.mark.parametrize(
    ("gpu", "tensorrt", "found"),
    [
        (("NVIDIA A10G", "8.6"), "tensorrt 11.4.0", A10G),
        (("NVIDIA A10G", "8.6"), "tensorrt 11.4.0.7", A10G),
        (("NVIDIA A10G", "8.6"), "tensorrt 11.4.1", None),
        (("NVIDIA A10G", "8.6"), "tensorrt_rtx 11.4.0", None),
        (("NVIDIA A10G", "8.6"), "", None),
        (("NVIDIA A10G", "8.7"), "tensorrt 11.4.0", None),
        (("NVIDIA A10", "8.6"), "tensorrt 11.4.0", None),
    ],
)
def test_a_plan_is_found_for_exactly_its_gpu_and_tensorrt(gpu, tensorrt, found):
    assert BOTH.find(gpu, tensorrt) == (found and key_of(found))


def test_of_plans_of_one_release_the_tensorrts_own_is_taken():
    builds = [replace(H100, tensorrt=f"tensorrt 11.4.0.{n}") for n in (5, 6, 7)]
    engines = EngineSet.of(builds)
    for build in builds:
        assert engines.find(H100.gpu, build.tensorrt) == key_of(build)
    assert engines.find(H100.gpu, "tensorrt 11.4.0.9") == key_of(builds[0])


def edited(change):
    document = json.loads(BOTH.to_json())
    change(document)
    return json.dumps(document).encode()


def swap_names(document):
    first, second = document["engines"]
    entries = document["engines"]
    document["engines"] = {first: entries[second], second: entries[first]}


def first(document):
    """Format 1, which had one model, and not all of that."""
    document.update(format=1, **document.pop("models")[NAME])
    del document["onnx_sha256"]


KEY, NAME = key_of(H100), str(variant_of(H100))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is damaged"),
        (b"[]", "is damaged"),
        (b"\xff", "is damaged"),
        (edited(lambda d: d.update(format=3)), "its format is 3"),
        (edited(lambda d: d.update(engines={})), "is damaged"),
        (edited(lambda d: d["engines"][KEY].update(gpu=["NVIDIA A10G", "8.6"])), "is damaged"),
        (edited(lambda d: d["engines"][KEY].update(gpu=None)), "is damaged"),
        (edited(lambda d: d["engines"][KEY].pop("plan_bytes")), "is damaged"),
        (edited(lambda d: d["models"][NAME].update(onnx_sha256="00" * 32)), "is damaged"),
        (edited(lambda d: d["models"].pop(NAME)), "has a model that is not here"),
        (edited(lambda d: d["engines"][KEY].update(model=["x"])), "is damaged"),
        (edited(first), "is damaged"),
        (edited(swap_names), "is damaged"),
        (
            EngineSet.of([H100, replace(A10G, batches=(9, 9, 9))]).to_json().encode(),
            "no batch size in common",
        ),
    ],
)
def test_what_is_no_set_is_refused(data, message):
    with pytest.raises(UsageError, match=message) as error:
        parse_engine_set("engines", data)
    assert "--gpu-type all" in error.value.hint
