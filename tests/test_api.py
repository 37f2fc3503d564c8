"""The Python API has the command line's names and defaults, and does the same."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_origin

import numpy as np
import pytest
from click.testing import CliRunner

import odtk_ray
from odtk_ray import api
from odtk_ray.cli.program import cli
from odtk_ray.config import CompareConfig, EvaluateConfig, ExportConfig, InferConfig, StrPath
from odtk_ray.options import options_of

SETTINGS = {
    "infer": InferConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
}


# Of options whose values are files or folders.
FILES = {"FILE", "DIR", "MODEL", "OLD_OUTPUT", "OUTPUT", "DETECTIONS", "A B..."}


def as_argument(option):
    """The type of an argument for an option: of several values a list, of files paths too."""
    values = get_args(option.hint)
    file = option.option.metavar in FILES
    if get_origin(option.hint) is tuple and values[-1] is ...:
        return StrPath | Sequence[StrPath] if file else Sequence[values[0]]
    if not file:
        return option.hint
    return StrPath | None if type(None) in values else StrPath


@pytest.mark.parametrize("verb", SETTINGS)
def test_arguments_are_the_options_with_their_types_and_defaults(verb):
    function, declared = getattr(api, verb), options_of(SETTINGS[verb])
    signature = inspect.signature(function).parameters
    # Ray's and TensorRT's types are not imported for the return value.
    lines = {name: p.annotation for name, p in signature.items() if name != "reporter"}
    types = {name: eval(text, function.__globals__) for name, text in lines.items()}
    assert list(types) == list(declared)
    assert types == {name: as_argument(option) for name, option in declared.items()}
    for name, option in declared.items():
        assert signature[name].default == option.default, name
        assert (signature[name].kind is inspect.Parameter.KEYWORD_ONLY) is not option.positional


@pytest.mark.parametrize("verb", SETTINGS)
def test_the_command_line_has_every_option_with_its_default(verb):
    context = cli.commands[verb].make_context(verb, [], resilient_parsing=True)
    for name, option in options_of(SETTINGS[verb]).items():
        several = option.count is not None and not option.positional
        expected = () if several else None if option.required else option.default
        assert context.params[name] == expected, name


@pytest.mark.parametrize("verb", SETTINGS)
def test_docstrings_say_of_each_argument_what_the_help_says(verb):
    text = " ".join(inspect.getdoc(getattr(api, verb)).split())
    for name, option in options_of(SETTINGS[verb]).items():
        said = re.sub(r"--([a-z][a-z0-9-]*)", lambda f: f"`{f[1].replace('-', '_')}`",
                      option.option.help)  # fmt: skip
        assert f" {name}: {said}" in text
        assert not option.option.unset or f"{said} Default: {option.option.unset}." in text


@pytest.mark.parametrize(
    ("verb", "arguments", "words"),
    [
        ("infer", {"resize": 0}, "--resize 0 is out of range: it must be between 1 and 65,536"),
        (
            "infer",
            {"threshold": 1.5},
            "--threshold 1.5 is out of range: it must be between 0 and 1",
        ),
        ("infer", {"nms": float("nan")}, "--nms nan is out of range"),
        ("infer", {"shard_timeout": float("nan")}, "--shard-timeout nan is out of range"),
        ("infer", {"fit": (64, 0)}, "--fit 0 is out of range"),
        ("infer", {"shard_timeout": float("inf")}, "--shard-timeout inf is out of range"),
        ("infer", {"top_n": 10**20}, "--top-n 100000000000000000000 is out of range"),
        ("infer", {"batch": 10**9}, "--batch 1000000000 is out of range"),
        ("infer", {"exif": "maybe"}, "--exif maybe is unknown: it is one of ignore, apply"),
        ("infer", {"tile": 10, "overlap": 10}, "--overlap 10 is too large"),
        ("infer", {"wait_for_nodes": 1.0}, "--wait-for-nodes needs --gpu-type"),
        ("export", {"opset": 12}, "--opset 12 is out of range: it must be between 13 and 17"),
        ("export", {"dynamic_batch_opts": (0, 1, 2)}, "--dynamic-batch-opts 0 is out of range"),
        ("export", {"size": (3_200_000_000,)}, "--size 3200000000 is out of range"),
        ("export", {"rotated_nms": "other"}, "--rotated-nms other is unknown"),
        ("export", {"seed": -1}, "--seed -1 is out of range"),
        ("infer", {"threshold": "0.3"}, "--threshold '0.3' is not a number"),
        ("infer", {"resize": 64.5}, "--resize 64.5 is not a whole number"),
        ("infer", {"resize": True}, "--resize True is not a whole number"),
        ("infer", {"recursive": "no"}, "--recursive 'no' is not True or False"),
        ("infer", {"images": ["a.jpg", "b.jpg"]}, "--images ['a.jpg', 'b.jpg'] is not text"),
        ("infer", {"output": [3]}, "--output 3 is not text"),
        ("infer", {"exif": 1}, "--exif 1 is not text"),
        ("infer", {"fit": (64,)}, "--fit (64,) are not 2 values"),
        ("infer", {"fit": 64}, "--fit (64,) are not 2 values"),
        ("export", {"size": "256"}, "--size '256' is not a whole number"),
    ],
)
def test_values_are_refused_as_on_the_command_line(verb, arguments, words):
    places = ["m.pth", "m.onnx"][: 1 + (verb == "export")]
    with pytest.raises(odtk_ray.UsageError) as refused:
        getattr(odtk_ray, verb)(*places, **arguments)
    assert words in str(refused.value)


def test_info_gives_the_rows_that_are_printed(checkpoint):
    rows = odtk_ray.info(str(checkpoint))
    printed = CliRunner().invoke(cli, ["info", str(checkpoint)]).output.splitlines()
    assert [line.split() for line in printed] == [f"{name} {text}".split() for name, text in rows]


def test_infer_writes_what_the_command_line_does(runs, checkpoint, photos, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="odtk_ray")
    files = [str(tmp_path / name) for name in ("api.json", "cli.json")]
    common = {"images": str(photos), "limit": 3, "resize": 64, "threads_per_worker": 1}
    summary = odtk_ray.infer(str(checkpoint), output=files[:1], threshold=0.2, **common)
    assert (summary.images, summary.failed, summary.files) == (3, 0, files[:1])
    assert any("category_id" in message for message in caplog.messages)
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in common.items()]
    arguments = ["infer", str(checkpoint), "--output", files[1], "--threshold=0.2", *flags]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert (tmp_path / "api.json").read_bytes() == (tmp_path / "cli.json").read_bytes()


def test_paths_and_numbers_of_other_kinds_are_taken(checkpoint, photos, tmp_path):
    """Paths of pathlib, alone where there may be several, numbers of NumPy's, any iterable."""
    output = tmp_path / "a.json"
    limit, threshold = np.int64(2), np.float32(0.25)
    summary = odtk_ray.infer(
        checkpoint, images=photos, output=output, limit=limit, threshold=threshold,
        resize=np.array(64), local=True,
    )  # fmt: skip
    assert (summary.images, summary.files) == (2, [str(output)])
    again = odtk_ray.infer(
        str(checkpoint), images=str(photos), output=(str(p) for p in [tmp_path / "b.json"]),
        limit=2, threshold=0.25, resize=64, local=True,
    )  # fmt: skip
    assert (tmp_path / "b.json").read_bytes() == output.read_bytes()
    assert again.files == [str(tmp_path / "b.json")]
    rows = odtk_ray.info(checkpoint)
    assert rows == odtk_ray.info(str(checkpoint))
    exported = odtk_ray.export(checkpoint, tmp_path / "m.onnx", size=np.array([64, 96]))
    assert Path(exported.path) == tmp_path / "m.onnx"
    assert ("input", "64x96 (height x width)") in odtk_ray.info(tmp_path / "m.onnx")
    odtk_ray.export(checkpoint, tmp_path / "square.onnx", size=64)
    comparison = odtk_ray.compare([output, tmp_path / "b.json"])
    assert comparison.pairs[0].b.name == str(tmp_path / "b.json")
    with odtk_ray.load(checkpoint, resize=np.int32(64)) as detector:
        assert detector(next(photos.glob("*.*"))).scores.size
    with pytest.raises(odtk_ray.UsageError, match="is no run folder"):
        odtk_ray.status(tmp_path)


def test_an_exported_models_own_values_are_kept_beside_one_that_is_given(graph):
    """A value that nobody gave is the model's own, and one that was given is not replaced."""
    from odtk_ray.config import InferConfig
    from odtk_ray.model.open_model import open_model

    own = open_model(InferConfig(str(graph)), str(graph)).postprocessing
    given = open_model(InferConfig(str(graph), threshold=0.5), str(graph)).postprocessing
    assert (own.threshold, given.threshold) == (0.05, 0.5)
    assert (given.top_n, given.nms, given.detections) == (own.top_n, own.nms, own.detections)


def test_the_package_has_its_api_and_nothing_else():
    assert odtk_ray.infer is api.infer
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        odtk_ray.train  # noqa: B018


def test_every_function_is_there_whatever_was_imported_before():
    """A module of a function's name would hide it once it is imported."""
    import importlib
    import pkgutil

    for module in pkgutil.iter_modules(odtk_ray.__path__):
        if module.name != "__main__":
            importlib.import_module(f"odtk_ray.{module.name}")
    for name in odtk_ray.__all__:
        assert name == "__version__" or callable(getattr(odtk_ray, name)), name


@pytest.mark.parametrize("command", [InferConfig, ExportConfig])
def test_every_number_has_bounds(command):
    """What nobody can mean is refused at once, not by an overflow in the middle of a run."""
    numbers = [o for o in options_of(command).values() if o.kind in (int, float)]
    assert len(numbers) > 10
    for option in numbers:
        for value in (10**30, -(10**30), float("inf"), float("nan")):
            whole = option.kind is int and isinstance(value, float)
            wrong = "is not a whole number" if whole else "is out of range"
            with pytest.raises(odtk_ray.UsageError, match=f"{option.flag} .* {wrong}"):
                option.check(value)


def test_a_batch_of_too_many_pictures_for_each_worker_is_refused():
    config = InferConfig("m.pth", batch=10_000)
    assert config.launch_batch(4, gpus=True) == 2_500
    with pytest.raises(odtk_ray.UsageError, match="too large for 2 workers: that is 5,000 images"):
        config.launch_batch(2, gpus=True)
