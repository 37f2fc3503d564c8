"""The Python API has the command line's names and defaults, and does the same."""

from __future__ import annotations

import inspect
import logging

import pytest
from click.testing import CliRunner

import odtk_ray
from odtk_ray import api
from odtk_ray.cli import cli

# What only one of the two has.
OWN = {"reporter"}
SCREEN = {"debug"}


@pytest.mark.parametrize("verb", ["infer", "export"])
def test_arguments_are_the_options_with_their_defaults(verb):
    arguments = inspect.signature(getattr(api, verb)).parameters
    context = cli.commands[verb].make_context(verb, [], resilient_parsing=True)
    assert arguments.keys() - OWN == context.params.keys() - SCREEN
    for name, parameter in arguments.items():
        required = parameter.default is inspect.Parameter.empty
        if required or name in OWN or (verb, name) == ("infer", "output"):
            continue  # --output has its default from the API
        assert (parameter.default or None) == (context.params[name] or None), name


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


def test_an_exported_models_own_values_are_kept_beside_one_that_is_given(graph):
    """A value that nobody gave is the model's own, and one that was given is not replaced."""
    from odtk_ray.config import InferConfig
    from odtk_ray.model.open import open_model

    own = open_model(InferConfig(str(graph)), str(graph)).postprocessing
    given = open_model(InferConfig(str(graph), threshold=0.5), str(graph)).postprocessing
    assert (own.threshold, given.threshold) == (0.05, 0.5)
    assert (given.top_n, given.nms, given.detections) == (own.top_n, own.nms, own.detections)


def test_the_package_has_its_api_and_nothing_else():
    assert odtk_ray.infer is api.infer
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        odtk_ray.train  # noqa: B018
