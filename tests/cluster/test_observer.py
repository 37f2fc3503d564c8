from __future__ import annotations

import itertools
import json
import time
import urllib.request
from collections import defaultdict

import pytest
from engines_for_tests import PixelEngine
from synthetic import picture

from odtk_ray.config import InferConfig
from odtk_ray.moments import Moment
from odtk_ray.run.pipeline import infer

pytestmark = pytest.mark.cluster


@pytest.fixture
def config(ray_session, checkpoint, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(100):
        picture(seed, 40, 32).save(folder / f"{seed:03d}.png")
    (folder / "003.png").write_bytes(b"bad")
    return InferConfig(
        str(checkpoint),
        images=str(folder),
        output=(str(tmp_path / "out.json"),),
        workers=2,
        threads_per_worker=1,
        batch=4,
        trace=str(tmp_path / "trace.json"),
        resize=32,
        max_size=64,
    )


def test_the_trace_has_every_shard_once_and_names_the_workers(config, quiet):
    infer(config, quiet, PixelEngine)
    with open(config.trace, encoding="utf-8") as stream:
        events = json.load(stream)["traceEvents"]
    shards = [event for event in events if event["ph"] == "X"]
    assert sum(event["args"]["images"] for event in shards) == 100
    assert sum(event["args"]["failed"] for event in shards) == 1
    assert sorted(event["name"] for event in shards) == [f"shard {i}" for i in range(len(shards))]
    named = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert named.pop(0) == "driver"
    assert set(named) == {event["tid"] for event in shards}
    assert all(name.startswith("CPU ") and " on " in name for name in named.values())
    assert all(event["dur"] > 0 for event in shards)
    for tid in named:  # shards of a worker follow each other, but for rounding
        spans = sorted((e["ts"], e["ts"] + e["dur"]) for e in shards if e["tid"] == tid)
        assert all(end <= start + 2 for (_, end), (start, _) in itertools.pairwise(spans))


def test_the_trace_has_the_moments_of_the_start_in_their_order(config, quiet):
    before = time.time()
    infer(config, quiet, PixelEngine)
    with open(config.trace, encoding="utf-8") as stream:
        trace = json.load(stream)
    assert before <= trace["otherData"]["begun"] <= time.time()
    lines = defaultdict(dict)
    for event in trace["traceEvents"]:
        if event["ph"] == "i":
            lines[event["tid"]][Moment(event["name"])] = event["ts"]
    driver = lines.pop(0)
    assert len(lines) in (1, 2)  # all may be done before the second worker's process has started
    assert driver[Moment.BEGUN] == 0
    of_driver = [
        Moment.BEGUN, Moment.RAY_UP, Moment.MODEL_READ, Moment.PLANNED, Moment.COMMITTED,
    ]  # fmt: skip
    assert [driver[moment] for moment in of_driver] == sorted(driver.values())
    # The engine stands in for a network, so that nobody imports torch.
    of_worker = [Moment.PROCESS, Moment.CALLED, Moment.READY, Moment.DETECTED]
    for worker in lines.values():
        assert [worker[moment] for moment in of_worker] == sorted(worker.values())
        assert driver[Moment.PLANNED] <= worker[Moment.READY]
    first = min(worker[Moment.DETECTED] for worker in lines.values())
    assert first <= driver[Moment.COMMITTED]


def test_the_metrics_are_on_rays_endpoint(config, quiet):
    import ray

    infer(config, quiet, PixelEngine)
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    wanted = {"odtk_images", "odtk_failures", "odtk_images_per_second", "odtk_queue_depth"}
    text = ""
    while not all(f"ray_{name}" in text for name in wanted):  # the test's timeout ends this
        time.sleep(1)
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
