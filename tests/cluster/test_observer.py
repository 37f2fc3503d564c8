from __future__ import annotations

import functools
import itertools
import json
import re
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest
from engines_for_tests import DyingOnceEngine, PixelEngine
from synthetic import picture

from odtk_ray.config import InferConfig
from odtk_ray.moments import Moment
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_status import run_name

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


DASHBOARD = Path(__file__).parents[2] / "jobs" / "cluster" / "grafana_dashboard.json"


def queries():
    """The PromQL of the dashboard, of panels and of variables."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = [v["query"] for v in document["templating"]["list"] if v["type"] == "query"]
    return variables + [t["expr"] for panel in document["panels"] for t in panel["targets"]]


def test_the_metrics_that_the_dashboard_shows_are_on_rays_endpoint(config, quiet, tmp_path):
    """Of a run with a bad picture and a worker that dies, with its name as their label."""
    import ray

    infer(config, quiet, functools.partial(DyingOnceEngine, str(tmp_path / "died")))
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    label = f'run="{run_name(config.run_folder)}"'
    wanted = set(re.findall(r"ray_\w+", " ".join(queries())))
    assert {"ray_odtk_failures_total", "ray_odtk_crashes_total"} < wanted
    seen, samples = set(), {}
    while not wanted <= seen:  # the test's timeout ends this
        time.sleep(1)
        with urllib.request.urlopen(url) as answer:
            lines = answer.read().decode().splitlines()
        ours = [line for line in lines if line.startswith("ray_odtk") and label in line]
        nodes = [line for line in lines if line.startswith("ray_node")]
        seen = {re.split(r"[{ ]", line)[0] for line in ours + nodes}
    for line in ours:
        name = line.partition("{")[0]
        samples[name] = samples.get(name, 0) + float(line.rpartition(" ")[2])
    assert samples["ray_odtk_images_left"] == 0
    # Counters of a process that had runs before come out too high: 2,800 were seen here.
    assert samples["ray_odtk_images_total"] >= 100
    assert min(samples["ray_odtk_failures_total"], samples["ray_odtk_crashes_total"]) >= 1


def test_the_dashboard_asks_for_the_chosen_runs_only():
    """All but the metrics of nodes, which no run has for itself."""
    for query in queries():
        chosen = query.count('{run=~"$run"}')
        assert query.startswith("label_values(") or chosen == query.count("ray_odtk_")


def test_the_dashboard_is_one_of_grafanas():
    """Nothing of it gets lost where Grafana's own types read it."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    ours = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    theirs = json.loads(json.dumps(Dashboard.from_json(ours), cls=JSONEncoder))
    assert with_keys_of(theirs, ours) == ours
    ids = [panel["id"] for panel in ours["panels"]]
    assert len(set(ids)) == len(ids)


def with_keys_of(value, pattern):
    """A value without what only Grafana's types add to it."""
    if isinstance(pattern, dict):
        return {k: with_keys_of(value[k], part) for k, part in pattern.items() if k in value}
    if isinstance(pattern, list) and len(value) == len(pattern):
        return [with_keys_of(*pair) for pair in zip(value, pattern, strict=True)]
    return value
