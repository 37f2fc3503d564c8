"""`--config FILE`: options from TOML mean what they mean on the command line, which wins."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from effort import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from odtk_ray.cli.command import values_of
from odtk_ray.cli.program import cli
from odtk_ray.config import ExportConfig, InferConfig, options_in_force
from odtk_ray.options import options_of
from odtk_ray.run.options_file import OPTIONS_FILE, write_options


def parsed(verb, *arguments):
    program = click.Context(cli, info_name="odtk-ray")
    command = cli.commands[verb]
    return command.make_context(verb, list(map(str, arguments)), parent=program).params


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


TABLE = """
[infer]
model = "m.pth"
images = "photos"
batch = 16
threshold = 1
exif = "apply"
recursive = true
output = ["a.json", "b.csv"]
fit = [640, 960]
gpu-type = "H100"
quiet = true

[export]
model = "m.pth"
output = "m.onnx"
size = 640

[convert]
source = "a.json"
target = "b.json"
from = "opencv"
"""


def test_values_are_those_of_the_command_line(file):
    path = file(TABLE)
    line = ["m.pth", "--images", "photos", "--batch", 16, "--threshold", 1, "--exif", "apply",
            "--recursive", "--output", "a.json", "b.csv", "--fit", 640, 960, "--gpu-type", "H100",
            "--quiet"]  # fmt: skip
    assert parsed("infer", "--config", path) == parsed("infer", *line)
    values = values_of(ExportConfig, parsed("export", "--config", path))
    assert (values["model"], values["output"], values["size"]) == ("m.pth", "m.onnx", (640,))
    assert ExportConfig("m.pth", "m.onnx", size=values["size"]).sizes == ((640, 640),)
    assert parsed("convert", "--config", path)["from_"] == "opencv"


def test_the_command_line_wins(file):
    path = file(TABLE)
    line = ["other.pth", "--config", path, "--batch", 2, "--output", "c.parquet", "--fit", 64, 64]
    params = parsed("infer", *line)
    assert (params["model"], params["batch"], params["output"]) == ("other.pth", 2, ("c.parquet",))
    assert (params["fit"], params["images"]) == ((64, 64), "photos")


@pytest.mark.parametrize("verb", sorted(set(cli.commands) - {"completion"}))
def test_every_command_takes_one(verb, file):
    known = [param.name for param in cli.commands[verb].params]
    assert "config" in known
    context = cli.commands[verb].make_context(
        verb, ["--config", str(file(f"[{verb}]\ndebug = true\n"))], resilient_parsing=True
    )
    assert context.params["debug"] is False  # completion reads no files


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[infer]\nbatch = "x"', "[infer] batch is 'x', not a whole number"),
        ("[infer]\nbatch = 2.5", "[infer] batch is 2.5, not a whole number"),
        ("[infer]\nbatch = true", "[infer] batch is True, not a whole number"),
        ("[infer]\nbatch = 0", "[infer] --batch 0 is out of range: it must be between 1 and"),
        ("[infer]\nthreshold = nan", "[infer] threshold is nan, not a finite number"),
        ("[infer]\nthreshold = 1.5", "[infer] --threshold 1.5 is out of range"),
        ('[infer]\nexif = "maybe"', "[infer] exif is 'maybe', not one of ignore, apply"),
        ("[infer]\nquiet = 1", "[infer] quiet is 1, not true or false"),
        ('[infer]\nimages = ["a"]', "[infer] images is ['a'], not text"),
        ("[infer]\nfit = [1, 2.5]", "[infer] fit is 2.5, not a whole number"),
        ("[infer]\nimages = 2026-01-01", "not text"),
        ("[infer]\nbach = 2", "no option --bach\n  hint: did you mean --batch?"),
        ("[infer]\nmax_size = 2", "no option --max_size\n  hint: did you mean --max-size?"),
        ("[infer]\nconf = 0.2", "hint: --conf is --threshold here"),
        ("[infer]\nconfig = 'a'", "there is no option --config"),
        ("[infer]\nwith-dali = true", "there is no option --with-dali"),
        ("[infr]\nbatch = 2", "no command is called infr\n  hint: did you mean [infer]?"),
        ("[export]\nsize = 3", "has no table [infer]: it has [export]"),
        ("", "has no table [infer]: it has no table at all"),
        ("batch = 2", "batch stands in no table"),
        ("[infer]\nbatch = ", "is not TOML: Invalid value (at "),
        ('[infer]\nimages = "a\\u0000b"', "[infer] images has a NUL character"),
        ("[infer]\nbatch = 1\nbatch = 2", "is not TOML"),
        ("#" * (1 << 20) + "\n", "it has more than 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(file, text, words):
    path = file(text)
    outcome = CliRunner().invoke(cli, ["infer", "m.pth", "--config", str(path)])
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert str(path) in outcome.stderr.splitlines()[0]
    assert words in outcome.stderr


def test_a_file_that_cannot_be_read(tmp_path):
    for name in (tmp_path, tmp_path / "gone.toml"):
        outcome = CliRunner().invoke(cli, ["infer", "--config", str(name)])
        assert outcome.exit_code == 2
        assert f"cannot read {name}" in outcome.stderr
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    outcome = CliRunner().invoke(cli, ["infer", "--config", str(tmp_path / "binary.toml")])
    assert (outcome.exit_code, "is not TOML" in outcome.stderr) == (2, True)


# What arguments can have: no NUL, and nothing that is not UTF-8.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)


@given(
    model=TEXTS,
    output=st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
    gpu_type=st.lists(TEXTS, max_size=2).map(tuple),
    draw=st.none() | TEXTS,
    threshold=st.none() | st.floats(0, 1),
    batch=st.none() | st.integers(1, 1_000),
    fit=st.none() | st.tuples(st.integers(1, 999), st.integers(1, 999)),
    exif=st.sampled_from(["ignore", "apply"]),
    local=st.booleans(),
)
@examples(25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_options_in_a_run_folder_make_the_same_run(tmp_path, **values):
    """Whatever was asked for: the file is read as it was meant."""
    config = InferConfig(**values)
    write_options(config, str(tmp_path))
    params = parsed("infer", "--config", tmp_path / OPTIONS_FILE)
    read = values_of(InferConfig, {name: params[name] for name in options_of(InferConfig)})
    assert InferConfig(**read) == config


def test_a_path_that_toml_cannot_hold_is_left_out(tmp_path):
    write_options(InferConfig("m.pth", images="x\udce9"), str(tmp_path))
    params = parsed("infer", "--config", tmp_path / OPTIONS_FILE)
    assert (params["model"], params["images"]) == ("m.pth", ".")


def test_options_in_force_have_every_option_with_a_value():
    config = InferConfig("m.pth", output=("a.json",), tile=640)
    found = options_in_force(config)
    assert found["output"] == ["a.json"]
    assert (found["tile"], found["overlap"], found["max-failures"]) == (640, 0, 0)
    unset = {name for name in options_of(InferConfig) if getattr(config, name) is None}
    assert len(found) == len(options_of(InferConfig)) - len(unset)
    assert "batch" not in found
