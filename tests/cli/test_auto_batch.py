"""`infer --batch auto`: measured before the plan, kept in it, and the same bytes as `--batch N`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from engines_for_tests import PixelEngine, SmallLaunchEngine
from synthetic import Quiet

import odtk_ray
from odtk_ray.artifacts import exported_model
from odtk_ray.cli.program import cli
from odtk_ray.config import InferConfig
from odtk_ray.dispatch.launch_survey import choose_launch, full_share
from odtk_ray.errors import OdtkError
from odtk_ray.run.dry_run import dry_run
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder

IMAGES = 26  # of the pictures; all of them become inputs of 128x128


@pytest.fixture
def config(runs, checkpoint, photos, annotations, tmp_path):
    return InferConfig(
        str(checkpoint), images=str(photos), annotations=str(annotations),
        output=(str(tmp_path / "out.json"),), threads_per_worker=1, resize=64, max_size=128,
        batch="auto", keep_run=True,
    )  # fmt: skip


def metrics_of(folder):
    return json.loads((folder / "out.metrics.json").read_text(encoding="utf-8"))


def said(quiet):
    return [note for note in quiet.notes if note.startswith("--batch auto")]


def test_the_plan_keeps_what_was_measured(config, tmp_path):
    quiet = Quiet()
    infer(config, quiet)
    plan = RunFolder.reopen(config.run_folder).plan
    measured, launch = plan.measured, plan.settings.launch_batch
    (rates,) = measured.rates.values()
    sizes = [rate.launch for rate in rates]
    assert sizes == [1, 2, 4, 8, 16][: len(sizes)]  # no worker gets less than one launch
    full = {size: full_share([IMAGES], size) for size in sizes}
    assert launch == choose_launch([rates], full)
    assert measured.shape == (128, 128)
    assert "measuring launches (--batch auto)" in quiet.stages
    (note,) = said(quiet)
    assert f"as --batch {launch} on 1 worker" in note
    assert f"{rates[0].launch} at {rates[0].images_per_second:,.1f} img/s" in note
    assert note.endswith(f"for 128x128, in {measured.seconds:.1f} s")
    document = metrics_of(tmp_path)
    assert document["settings"]["launch_batch"] == launch
    assert document["measured_launches"]["rates"][""][0]["launch"] == 1
    assert document["options"]["batch"] == "auto"


def test_a_resumed_run_measures_nothing(config, tmp_path):
    infer(config, Quiet())
    before = metrics_of(tmp_path), (tmp_path / "out.json").read_bytes()
    commits = tmp_path / "out.json.run" / "commits.jsonl"
    lines = commits.read_bytes().splitlines(keepends=True)
    commits.write_bytes(b"".join(lines[:-1]))  # its last shard is not done
    quiet = Quiet()
    summary = infer(replace(config, resume=True), quiet)
    assert summary.detected > 0
    assert said(quiet) == []
    assert "measuring launches (--batch auto)" not in quiet.stages
    assert (tmp_path / "out.json").read_bytes() == before[1]
    assert metrics_of(tmp_path)["measured_launches"] == before[0]["measured_launches"]


def written(config, folder, batch):
    """The launch of a run of two workers, its outputs, and its figures but for what is timed."""
    folder.mkdir()
    output = (str(folder / "out.json"), str(folder / "out.parquet"))
    infer(replace(config, output=output, batch=batch, workers=2), Quiet())
    figures = metrics_of(folder)
    for key in ("options", "pace", "measured_launches"):
        del figures[key]
    launch = RunFolder.reopen(f"{output[0]}.run").plan.settings.launch_batch
    return launch, [
        *((folder / name).read_bytes() for name in ("out.json", "out.parquet")),
        figures,
    ]


def test_the_bytes_are_those_of_the_batch_that_was_chosen(config, tmp_path):
    launch, found = written(config, tmp_path / "auto", "auto")
    assert written(config, tmp_path / "given", 2 * launch) == (launch, found)


def test_the_command_line_and_files_take_it(checkpoint, photos, tmp_path):
    options = tmp_path / "options.toml"
    options.write_text('[infer]\nbatch = "auto"\n', encoding="utf-8")
    outputs = []
    for number, given in enumerate((["--batch", "auto"], ["--config", str(options)])):
        outputs.append(tmp_path / f"{number}.json")
        arguments = ["infer", str(checkpoint), "--images", str(photos), "--local", "--resize", "64"]
        arguments += [*given, "--limit", "4", "--output", str(outputs[-1])]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        assert "--batch auto: launches of " in done.output
        assert outputs[-1].exists()


@pytest.mark.parametrize(("value", "words"), [
    ("0", "--batch 0 is out of range"),
    ("many", "--batch cannot be many: it takes a whole number or auto"),
])  # fmt: skip
def test_other_words_are_refused(value, words):
    done = CliRunner().invoke(cli, ["infer", "model.pth", "--batch", value])
    assert words in done.output + str(done.exception)


def test_a_dry_run_measures_nothing(config, tmp_path):
    quiet = Quiet()
    rows = dict(dry_run(config, quiet, None, PixelEngine))
    assert "images at once are measured when the run starts" in rows["engine"]
    assert rows["shards"].startswith("about ")
    assert said(quiet) == []


def test_an_estimate_does_not_miss_the_launch(config, tmp_path):
    infer(replace(config, batch=4, keep_run=False), Quiet())
    quiet = Quiet()
    rows = dict(dry_run(config, quiet, str(tmp_path / "out.metrics.json"), PixelEngine))
    assert rows["time"].startswith("about ")
    assert quiet.warnings == []


def test_in_this_process_a_launch_that_raises_is_left_out(config):
    quiet = Quiet()
    local = replace(config, local=True)
    assert infer(local, quiet, partial(SmallLaunchEngine, 2, "raise")).failed == 0
    assert RunFolder.reopen(config.run_folder).plan.settings.launch_batch <= 2
    assert any("launches of 4 images are left out: " in warning for warning in quiet.warnings)


def test_in_this_process_one_that_does_not_fit_ends_the_run(config):
    """Which no other process could go on with; it says what does fit."""
    with pytest.raises(OdtkError, match="4 images of the largest size at once") as refused:
        infer(replace(config, local=True), Quiet(), partial(SmallLaunchEngine, 2, "memory"))
    assert refused.value.hint in ("--batch 1", "--batch 2")


def test_an_onnx_file_is_measured_too(config, graph, tmp_path):
    exported = str(graph)
    changes = {"model": exported, "resize": None, "max_size": None}
    infer(replace(config, **changes), Quiet())
    plan = RunFolder.reopen(config.run_folder).plan
    assert plan.measured.shape == exported_model.read_exported(exported).size


def test_a_detector_takes_it(checkpoint, photos):
    """It finds what one finds that is given the batch."""
    paths = sorted(map(str, photos.iterdir()))[:3]
    settings = {"threads": 1, "resize": 64, "max_size": 128, "device": "cpu"}
    with odtk_ray.load(str(checkpoint), batch="auto", **settings) as detector:
        batch, found = detector.batch, [one.bbox for one in detector(paths)]
    with odtk_ray.load(str(checkpoint), batch=batch, **settings) as detector:
        for boxes, same in zip(found, detector(paths), strict=True):
            assert len(boxes) > 0
            np.testing.assert_array_equal(boxes, same.bbox)
