"""The Ray that a run starts for itself: which processes it has, and that it takes them with it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from synthetic import picture

from odtk_ray.cluster.private_ray import small_ray
from odtk_ray.cluster.session import session
from odtk_ray.errors import OdtkError, UsageError

# What Ray starts, and with which file or name; the agents change theirs as they start.
_SMALL = ["gcs_server", "raylet", "worker"]
_NO_AGENTS = ["cat", "cat"]
_AGENTS = ["agent of metrics", "agent of runtime environments"]
_REST = ["API server", "log monitor", "monitor"]

_PROGRAM = """
import json, os, signal, sys
from odtk_ray.cluster import private_ray
from odtk_ray.cluster.session import session

exec(sys.argv[1])
with session(None, 1):
    import ray, psutil

    NAMES = {
        "monitor.py": "monitor", "log_monitor.py": "log monitor", "dashboard.py": "API server",
        "agent.py": "agent of metrics", "ray::DashboardAgent": "agent of metrics",
        "main.py": "agent of runtime environments", "default_worker.py": "worker",
        "ray::RuntimeEnvAgent": "agent of runtime environments", "ray::Adder": "worker",
    }

    def name(process):
        parts = [os.path.basename(part) for part in process.cmdline() if part]
        return next((NAMES[part] for part in parts if part in NAMES), parts[0])

    @ray.remote(num_cpus=1)
    class Adder:
        def add(self, a, b):
            return a + b
        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

    adder = Adder.remote()
    summed = ray.get(adder.add.remote(1, 2))
    processes = {p.pid: name(p) for p in psutil.Process().children(recursive=True)}
    doubled = ray.get(ray.remote(lambda: 2 * 4).remote())
    try:
        ray.get(adder.die.remote())
    except ray.exceptions.ActorDiedError as error:
        died = str(error)
    said = {"processes": processes, "summed": summed, "doubled": doubled, "died": died,
            "node": bool(ray.nodes()[0]["Labels"]["ray.io/node-id"])}
    print(json.dumps(said), flush=True)
    sys.stdin.read()
"""

_HIDE_ALL = """
def hidden(name):
    raise ImportError(name)
private_ray.import_module = hidden
"""
# As in a version of Ray whose agents have one port more.
_HIDE_AGENTS = "private_ray._AGENT_PORTS = {'METRICS_AGENT_PORT_NAME'}"


@pytest.fixture
def folder():
    """A folder for Ray whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as made:
        yield Path(made)


def ray_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that starts a Ray below `folder`."""
    taken = {"RAY_ADDRESS", "RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR"}
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(folder)])
    inherited = {name: value for name, value in os.environ.items() if name not in taken}
    return inherited | {"RAY_TMPDIR": str(folder), "PYTHONPATH": path}


def start(folder: Path, hide: str, **environment: str) -> tuple[subprocess.Popen, dict]:
    """Start the program; return it, and what it says once its Ray has worked."""
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, hide], env=ray_environment(folder) | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    said = next(line for line in program.stdout if line.startswith(b"{"))  # Ray prints there too
    return program, json.loads(said)


def await_end(pids: list[int]) -> None:
    """Wait until the processes have ended; their driver may have ended before them."""
    waiting = select.poll()
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        waiting.register(descriptor, select.POLLIN)
        assert waiting.poll(60_000), f"{pid} is still there"
        waiting.unregister(descriptor)
        os.close(descriptor)


def names(said: dict) -> list[str]:
    return sorted(said["processes"].values())


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("hide", "environment", "expected"),
    [
        ("", {}, _SMALL + _NO_AGENTS),
        (_HIDE_AGENTS, {}, _SMALL + _AGENTS),
        ("", {"RAY_RUNTIME_ENV_HOOK": "hook.unchanged"}, _SMALL + _AGENTS),
        (_HIDE_ALL, {}, [*_SMALL, *_AGENTS, *_REST]),
    ],
    ids=["small", "another Ray's agents", "runtime environments", "nothing is as in this Ray"],
)
def test_a_private_ray_works_and_takes_its_processes_with_it(folder, hide, environment, expected):
    (folder / "hook.py").write_text(
        "def unchanged(environment):\n    return environment\n", encoding="utf-8"
    )
    program, said = start(folder, hide, **environment)
    # Ray may start workers before anybody asks, one a CPU.
    idle = ["ray::IDLE", "worker"] if _REST[0] in expected else []
    found = names(said)
    assert {name: found.count(name) for name in found if name not in idle} == {
        name: expected.count(name) for name in expected if name not in idle
    }
    assert (said["summed"], said["doubled"], said["node"]) == (3, 8, True)
    assert "Worker exit type: SYSTEM_ERROR" in said["died"]
    program.communicate()
    assert program.returncode == 0
    await_end([int(pid) for pid in said["processes"]])
    sessions = [path for path in (folder / "ray").iterdir() if not path.is_symlink()]
    assert len(sessions) == 1
    left = {path.name for path in sessions[0].iterdir() if "_port_" not in path.name}
    assert left == {"logs", "sockets", "runtime_resources"}  # which Ray itself leaves


@pytest.mark.cluster
def test_a_driver_that_is_killed_leaves_no_process(folder):
    program, said = start(folder, "")
    os.kill(program.pid, signal.SIGKILL)
    program.communicate()
    await_end([int(pid) for pid in said["processes"]])


def test_rays_code_is_as_before_afterwards():
    from ray._private import node, services, utils

    def seams():
        methods = [vars(node.Node)[f"start_{what}"] for what in ("monitor", "log_monitor")]
        return [
            *methods, vars(node.Node)["start_api_server"], services.start_ray_process,
            utils.get_dashboard_dependency_error,
        ]  # fmt: skip

    before = seams()
    started = small_ray()
    started.__enter__()
    assert not set(seams()) & set(before)
    # As where ray.init raises.
    assert not started.__exit__(OSError, OSError(), None)
    assert seams() == before


def test_what_a_ray_does_not_have_is_not_given_to_it(monkeypatch):
    from ray._private import node, services

    monkeypatch.delattr(node.Node, "start_monitor")
    monkeypatch.delattr(services, "start_ray_process")
    with small_ray():
        assert not hasattr(node.Node, "start_monitor")
        assert not hasattr(services, "start_ray_process")
    assert not hasattr(node.Node, "start_monitor")


_OBSERVED = """
import sys
from odtk_ray.cluster.session import session

with session(None, 1, metrics_port=int(sys.argv[1])):
    from odtk_ray.cluster.observer import Observer

    Observer(None).queue(7)
    print("observed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


@pytest.mark.cluster
def test_metrics_are_at_the_port_that_was_asked_for(folder, port):
    program = subprocess.Popen(
        [sys.executable, "-c", _OBSERVED, str(port)],
        env=ray_environment(folder) | {"RAY_metrics_report_interval_ms": "500"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout.readline() == b"observed\n"
    found, end = [], time.monotonic() + 150
    while not found and time.monotonic() < end:  # Ray passes metrics on now and then
        with (
            contextlib.suppress(OSError),  # its agent answers nothing while it is busy
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page,
        ):
            lines = page.read().decode().splitlines()
            found = [line for line in lines if line.startswith("ray_odtk_queue_depth{")]
    program.communicate()
    assert [line.rsplit(" ", 1)[1] for line in found] == ["7.0"]


def test_a_port_that_is_taken_is_said_before_ray_starts(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        socket.create_server(("", 0)) as taken,
        pytest.raises(OdtkError, match="for metrics: Address already in use"),
        session(None, 1, metrics_port=taken.getsockname()[1]),
    ):
        pass


@pytest.mark.parametrize("running", [False, True])
def test_a_cluster_has_its_own_port_for_metrics(monkeypatch, port, running):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: running)
    monkeypatch.setenv("RAY_ADDRESS", "" if running else "127.0.0.1:1")
    with (
        pytest.raises(UsageError, match="--metrics-port is for a Ray that the run starts"),
        session(None, 1, metrics_port=port),
    ):
        pass


@pytest.mark.cluster
def test_infer_asks_for_the_port_of_its_option(folder, checkpoint):
    picture(0, 64, 64).save(folder / "0.png")
    with socket.create_server(("", 0)) as taken:
        number = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "odtk_ray", "infer", str(checkpoint), "--images", str(folder),
             "--metrics-port", number],
            env=ray_environment(folder), cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"cannot use port {number} for metrics" in done.stderr
