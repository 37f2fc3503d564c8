"""`odtk-ray infer --local`: without Ray, and what contradicts that."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from engines_for_tests import PixelEngine
from synthetic import Quiet, picture

from odtk_ray.cli.program import cli
from odtk_ray.cluster.local_workers import LocalWorkers
from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError
from odtk_ray.run import missing_sizes
from odtk_ray.run.pipeline import infer
from odtk_ray.worker.fleet import Fleet
from odtk_ray.worker.warm_up import Needs

# Ray cannot be imported.
WITHOUT = """
import sys
sys.modules["ray"] = None
from odtk_ray.cli.process import main
main()
"""


# Says at its end which of the packages it has imported that a run does not need.
LOOKING = """
import atexit, sys
UNNEEDED = {"ray", "torch._dynamo", "torch._inductor", "torchvision", "onnx", "tensorrt_rtx"}
atexit.register(lambda: print("imported:", *sorted(UNNEEDED & set(sys.modules)), file=sys.stderr))
from odtk_ray.cli.process import main
main()
"""


@pytest.fixture
def few(tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for seed in range(5):
        picture(seed, 80, 60).save(folder / f"{seed}.jpg")
    (folder / "5.jpg").write_bytes(b"no picture")
    return folder


def test_a_run_needs_no_ray(checkpoint, few, tmp_path):
    """Detection, drawing, a trace, and a file that is no picture."""
    arguments = ["infer", checkpoint, "--images", few, "--local", "--resize", "64"]
    arguments += ["--output", tmp_path / "out.json", "--draw", tmp_path / "drawn"]
    arguments += ["--trace", tmp_path / "trace.json"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, check=False
    )
    assert done.returncode == 3, done.stderr.decode()
    assert len(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["images"]) == 6
    assert len(list((tmp_path / "drawn").iterdir())) == 5
    events = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert any(event["name"] == "shard 0" for event in events)


def test_nothing_is_imported_that_is_not_used(checkpoint, few, tmp_path):
    """Each of them takes seconds, torch's compiler too."""
    arguments = ["infer", checkpoint, "--images", few, "--local", "--resize", "64"]
    arguments += ["--output", tmp_path / "out.json"]
    done = subprocess.run(
        [sys.executable, "-c", LOOKING, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1] == "imported:"


def test_sizes_of_many_files_are_read_here(few, tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr(missing_sizes, "_PATHS_A_CALL", 2)
    config = InferConfig(str(checkpoint), str(few), output=(str(tmp_path / "o.json"),), local=True)
    summary = infer(config, Quiet(), PixelEngine)
    assert (summary.images, summary.failed) == (6, 1)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--workers", "2"], "--workers"),
        (["--address", "10.0.0.1:6379"], "--address"),
        (["--gpu-type", "H100"], "--gpu-type"),
        (["--metrics-port", "8080"], "--metrics-port"),
        (["--shard-timeout", "9"], "--shard-timeout"),
    ],
)
def test_what_needs_ray_is_refused(checkpoint, few, flags, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["infer", str(checkpoint), "--images", str(few), "--local", *flags]
    outcome = CliRunner().invoke(cli, arguments)
    assert outcome.exit_code == 2
    assert f"error: --local and {named} contradict each other" in outcome.stderr
    assert not (tmp_path / "detections.json.run").exists()


class Failing(PixelEngine):
    """Fails at the third launch, as a GPU may; and then no more."""

    launches = 0

    def detect(self, pictures, shape):
        Failing.launches += 1
        if Failing.launches == 3:
            raise RuntimeError("CUDA error: an illegal memory access\nand more")
        return super().detect(pictures, shape)


def test_an_engine_that_fails_ends_the_run_and_is_resumed(few, tmp_path, checkpoint, monkeypatch):
    from odtk_ray.shards import cut_shards

    monkeypatch.setattr(cut_shards, "shard_size", lambda images, launch_batch: 2)
    config = InferConfig(str(checkpoint), str(few), output=(str(tmp_path / "o.json"),), local=True)
    with pytest.raises(OdtkError, match="a worker failed: RuntimeError: CUDA error") as caught:
        infer(config, Quiet(), Failing)
    assert "--resume" in caught.value.hint
    report = Quiet()
    resumed = InferConfig(
        str(checkpoint), str(few), output=(str(tmp_path / "o.json"),), local=True, resume=True
    )
    summary = infer(resumed, report, Failing)
    assert summary.images == 6
    assert 0 < summary.detected < 6


class Slow(PixelEngine):
    """Takes its time, and counts."""

    launches = 0

    def detect(self, pictures, shape):
        Slow.launches += 1
        time.sleep(0.05)
        return super().detect(pictures, shape)


class Interrupting(Quiet):
    """Is the moment of a Ctrl-C, once some windows are done."""

    def windows(self, done, total):
        if done:
            raise KeyboardInterrupt


def test_ctrl_c_ends_a_picture_in_mid_of_its_tiles(tmp_path, checkpoint):
    folder = tmp_path / "one"
    folder.mkdir()
    picture(1, 1000, 1000).save(folder / "1.png")
    config = InferConfig(
        str(checkpoint), str(folder), output=(str(tmp_path / "o.json"),), local=True,
        tile=32, overlap=0, resize=32, max_size=32, batch=2,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        infer(config, Interrupting(), Slow)
    assert 0 < Slow.launches < 256  # of 512


def test_what_fails_among_many_calls_ends_the_others():
    calls = []

    def call(number):
        calls.append(number)
        if number == 3:
            raise ValueError("no such thing")
        time.sleep(0.02)

    workers = LocalWorkers(Fleet(1, False, 1), Needs())
    with pytest.raises(OdtkError, match="ValueError: no such thing"):
        workers.map(call, [(number,) for number in range(100)])
    assert len(calls) < 50
