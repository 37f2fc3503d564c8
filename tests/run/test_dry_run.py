"""`--dry-run` says what the run then does, writes nothing, and is refused for the same reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from engines_for_tests import PixelEngine
from synthetic import Quiet

from odtk_ray.cli.program import cli
from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError
from odtk_ray.run.dry_run import dry_run
from odtk_ray.run.pace import Pace, read_earlier_run
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.worker.fleet import Fleet


@pytest.fixture
def config(runs, checkpoint, photos, annotations, tmp_path):
    return InferConfig(
        str(checkpoint), images=str(photos), annotations=str(annotations),
        output=(str(tmp_path / "out.json"),), threads_per_worker=1, resize=64, max_size=128,
        batch=4, keep_run=True,
    )  # fmt: skip


def files(folder: Path):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(config, pace=None):
    return dict(dry_run(config, Quiet(), pace, PixelEngine))


def test_it_says_what_the_run_then_does(config, tmp_path):
    before = files(tmp_path)
    said = rows(config)
    assert files(tmp_path) == before
    infer(config, Quiet(), PixelEngine)
    run = RunFolder.reopen(config.run_folder)
    sizes = [len(shard) for shard in run.plan.shards]
    each = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else max(sizes)
    assert said["shards"] == f"{len(sizes)} of {each} images"
    assert said["images"] == "26 images"
    # Short sides of 64: 160x120 becomes 85x64, 120x160 64x85, 96x96 64x64 and 200x100 128x64.
    assert said["network inputs"] == "128x128 for 26"
    assert said["model"] == "ResNet18FPN, 3 classes, boxes"
    launch = run.plan.settings.launch_batch
    assert said["engine"] == f"PyTorch in FP32; {launch} images at once, decoded by pillow"
    assert said["workers"] == "1 CPU worker, 1 CPU thread each"
    assert said["outputs"] == config.output[0]
    assert said["run folder"] == config.run_folder
    assert "time" not in said


def test_a_run_to_resume_is_looked_at_and_left_alone(config, tmp_path):
    infer(config, Quiet(), PixelEngine)
    journal = Path(config.run_folder, "commits.jsonl")
    with open(journal, "ab") as stream:  # another driver writes this very moment
        stream.write(b'{"shard": 0, "na')
    before = files(tmp_path)
    said = rows(replace(config, resume=True))
    assert files(tmp_path) == before
    assert said["images"] == "26 images, 26 of them done"
    assert said["shards"] == "none is left"


def test_windows_are_counted(config):
    said = rows(replace(config, annotations=None, tile=100))
    # Of 7 pictures of 160x120 and of 120x160 each four windows, of six of 200x100 two.
    sizes = {(160, 120): 4, (120, 160): 4, (96, 96): 1, (200, 100): 2}
    counts = [7, 7, 6, 6]  # 26 pictures, the sizes by turns
    assert said["windows"] == str(sum(n * w for n, w in zip(counts, sizes.values(), strict=True)))


def test_the_time_follows_from_an_earlier_runs_metrics(config, tmp_path):
    infer(config, Quiet(), PixelEngine)
    path = tmp_path / "out.metrics.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["options"]["resize"] == 64
    assert document["settings"]["preprocessing"]["resize"] == 64
    assert document["pace"]["workers"] == 1
    assert document["pace"]["images_per_second"] > 0
    # Two workers did 0.5 images a second: 26 images take one of them 104 s.
    document["pace"] |= {"images_per_second": 0.5, "workers": 2}
    path.write_text(json.dumps(document), encoding="utf-8")
    other, quiet = replace(config, output=(str(tmp_path / "b.json"),)), Quiet()
    said = dict(dry_run(other, quiet, str(path), PixelEngine))
    assert said["time"].startswith("about 0:01:44 for 26 images on 1 CPU worker, if each does 0.2")
    assert quiet.warnings == []
    said = dict(dry_run(replace(other, resize=96), quiet, str(path), PixelEngine))
    assert "far off: the network input of " in quiet.warnings[0]
    document["pace"]["device"] = "gpu"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert rows(other, str(path))["time"].startswith("not known: ")


def test_pace_scales_with_the_workers():
    pace = Pace.measured(1_000, 50.0, Fleet(4, True, 4))
    assert pace == Pace(20.0, 4, "gpu", 4)
    assert pace.seconds(1_000, Fleet(8, True, 4)) == 25.0
    assert Pace.measured(0, 50.0, Fleet(4, True, 4)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no metrics file: it is not JSON"),
        ("[]", "is no metrics file: it is [], not a table"),
        ("{}", "is no metrics file: pace is None, not a table"),
        ('{"pace": null}', "has no pace"),
        ('{"pace": {"images_per_second": 0, "workers": 1, "device": "cpu", "threads": 1}}',
         "pace.images_per_second is 0, not a number above 0"),
        ('{"pace": {"images_per_second": 1, "workers": 1, "device": "cpu", "threads": 1}}',
         "settings is None, not a table"),
    ],
)  # fmt: skip
def test_files_that_have_no_pace(tmp_path, text, words):
    path = tmp_path / "m.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="--pace") as refused:
        read_earlier_run(str(path))
    assert words in refused.value.sentence
    with pytest.raises(UsageError, match="cannot read --pace"):
        read_earlier_run(str(tmp_path / "gone.json"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": "nowhere"},
        {"model": "gone.pth"},
        {"output": "nowhere/out.json"},
        {"output": "out.txt"},
        {"annotations": "gone.json"},
        {"metrics-port": "9000"},
    ],
)
def test_what_is_wrong_is_said_as_by_the_run(wrong, checkpoint, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"model": str(checkpoint), "images": str(photos)} | wrong
    line = ["infer", options.pop("model"), "--local", "--quiet"]
    line += [word for name, value in options.items() for word in (f"--{name}", value)]
    real, dry = (CliRunner().invoke(cli, [*line, *more]) for more in ([], ["--dry-run"]))
    assert (real.exit_code, dry.exit_code) == (2, 2)
    assert dry.stderr == real.stderr
    assert list(tmp_path.iterdir()) == []


def test_pace_is_for_dry_runs(checkpoint):
    outcome = CliRunner().invoke(cli, ["infer", str(checkpoint), "--pace", "m.json"])
    assert (outcome.exit_code, outcome.stderr.split(":")[1]) == (2, " --pace needs --dry-run")


@pytest.mark.cluster
def test_on_a_cluster(ray_session, checkpoint, photos, tmp_path):
    line = ["infer", checkpoint, "--images", photos, "--workers", 2, "--threads-per-worker", 1,
            "--output", tmp_path / "out.json", "--dry-run"]  # fmt: skip
    outcome = CliRunner().invoke(cli, list(map(str, line)))
    assert outcome.exit_code == 0, outcome.output
    assert "workers         2 CPU workers, 1 CPU thread each" in outcome.stdout
    assert outcome.stdout.splitlines()[-1].strip() == "dry run: nothing was written"
    assert list(tmp_path.iterdir()) == []
