"""Starts a private Ray with the processes that a run needs, and no others.

Ray has no public way to leave processes out, so all that this file touches is its own code. What
another version of Ray does not have, or names differently, is left as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

_NO_WORKERS = {"--num_prestart_python_workers": "0"}

# The ports that Ray 2.60 waits for before it counts a node as started.
_AGENT_PORTS = {
    "METRICS_AGENT_PORT_NAME",
    "METRICS_EXPORT_PORT_NAME",
    "DASHBOARD_AGENT_LISTEN_PORT_NAME",
    "RUNTIME_ENV_AGENT_PORT_NAME",
}
# What Ray's own agent writes where it has no such service.
_NO_SERVICE = -1

_SESSION, _NODE = "--session_dir", "--node_id"

# Ray must have agents, and ends when one of them does. This one waits for the end of its input, a
# pipe from Ray: so it ends with Ray, however that ends.
_IDLE_AGENT = "cat"
_NO_AGENTS = {"--dashboard_agent_command": _IDLE_AGENT, "--runtime_env_agent_command": _IDLE_AGENT}
_PIPE_TO_AGENTS = {"RAY_enable_pipe_based_agent_to_parent_health_check": "1"}


@contextlib.contextmanager
def small_ray() -> Iterator[None]:
    """Have a Ray that is started in the block start no more than its store and its scheduler.

    Left out are the autoscaler's monitor, the log monitor, the API server, the agents (metrics,
    runtime environments), and workers that nobody has asked for: on 2 cores Ray is up after
    1.2 s instead of 2.3, since it waits for most of them. Ray's code is as before after the block.
    """
    with contextlib.ExitStack() as stack:
        for owner, name, replacement in _replacements():
            stack.enter_context(replaced(owner, name, replacement))
        yield


def _replacements() -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """Yield what is replaced: where, by which name, and by what."""
    try:
        node: Any = import_module("ray._private.node").Node
        services: Any = import_module("ray._private.services")
        utils: Any = import_module("ray._private.utils")
    except (ImportError, AttributeError):
        return
    for name in ("start_monitor", "start_log_monitor", "start_api_server"):
        yield node, name, lambda *_, **__: None
    if without_agents := _agents_can_be_left_out():
        # It imports a web server, for a quarter of a second, to see what the agents could do.
        yield utils, "get_dashboard_dependency_error", lambda: None
    start: Any = getattr(services, "start_ray_process", None)

    def start_small(command: list[str], *args: Any, **kwargs: Any) -> Any:
        options = dict(part.partition("=")[::2] for part in command)
        if without_agents and options.keys() >= _NO_AGENTS.keys() | {_SESSION, _NODE}:
            _say_that_no_agent_listens(options[_SESSION], options[_NODE])
            kwargs["env_updates"] = (kwargs.get("env_updates") or {}) | _PIPE_TO_AGENTS
            command = _changed(command, _NO_AGENTS)
        return start(_changed(command, _NO_WORKERS), *args, **kwargs)

    yield services, "start_ray_process", start_small


@contextlib.contextmanager
def replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Replace an attribute in the block, if it is there."""
    original = getattr(owner, name, None)
    if original is None:
        yield
        return
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _changed(command: list[str], values: dict[str, str]) -> list[str]:
    """Return a command with other values for those of its options that are in `values`."""
    names = [part.partition("=")[0] for part in command]
    return [
        f"{name}={values[name]}" if name in values else part
        for name, part in zip(names, command, strict=True)
    ]


def _agents_can_be_left_out() -> bool:
    """Tell whether nothing needs Ray's agents, and this version of Ray starts without them."""
    if os.environ.keys() & {"RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR"}:
        return False  # an agent makes the environments that these ask for
    try:
        raylet: Any = import_module("ray._raylet")
        uv: Any = import_module("ray._private.runtime_env.uv_runtime_env_hook")
        ports = {name for name in vars(raylet) if name.endswith("_PORT_NAME")}
        known = ports - {"GCS_SERVER_PORT_NAME"} == _AGENT_PORTS and callable(raylet.persist_port)
        # `uv run` asks for an environment too.
        return known and shutil.which(_IDLE_AGENT) is not None and not uv._get_uv_run_cmdline()
    except (ImportError, AttributeError):
        return False


def _say_that_no_agent_listens(session_dir: str, node_id: str) -> None:
    """Write where Ray looks for its agents' ports that there are none, as they would themselves."""
    raylet: Any = import_module("ray._raylet")
    for name in _AGENT_PORTS:
        raylet.persist_port(session_dir, node_id, getattr(raylet, name), _NO_SERVICE)
