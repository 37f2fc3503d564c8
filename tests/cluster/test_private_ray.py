"""The Ray that a run starts for itself: which processes it has, and that it takes them with it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from odtk_ray.cluster.private_ray import small_ray

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


def start(folder: Path, hide: str, **environment: str) -> tuple[subprocess.Popen, dict]:
    """Start the program; return it, and what it says once its Ray has worked."""
    taken = {"RAY_ADDRESS", "RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR"}
    inherited = {name: value for name, value in os.environ.items() if name not in taken}
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(folder)])
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, hide],
        env=inherited | {"RAY_TMPDIR": str(folder), "PYTHONPATH": path} | environment,
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
    (folder / "hook.py").write_text("def unchanged(environment):\n    return environment\n")
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
