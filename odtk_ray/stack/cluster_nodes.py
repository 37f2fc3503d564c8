"""The nodes of a Ray cluster: the same software, the same files, which GPUs."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from odtk_ray.plural import counted
from odtk_ray.stack.finding import Finding, ok, problem, warning
from odtk_ray.stack.prober import Prober

# Packages of which nodes must have one version: Ray refuses others, or results would differ.
_SAME = ("Python", "odtk-ray", "ray", "torch", "pillow")
# Of these another version is no harm, unless what runs is of one version.
_ALIKE = ("numpy", "pyarrow", "tensorrt", "tensorrt-rtx", "onnxruntime", "pycuda",
          "nvidia-nvimgcodec-cu13", "nvidia-nvimgcodec-cu12")  # fmt: skip
_SECONDS = 100.0  # for the answers of all nodes: a process starts on each


def check_nodes(
    prober: Prober, address: str, paths: list[str], run_dir: str | None
) -> Iterator[Finding]:
    """Ask every node of a cluster for its versions, its GPUs, and whether it sees the files.

    Args:
        prober: whose process connects to the cluster.
        address: of the cluster.
        paths: files and folders that a run reads.
        run_dir: folder that every node has to write to; None tries the current folder.
    """
    folder = os.path.abspath(run_dir or ".")
    shared = [p if "://" in p else os.path.abspath(p) for p in paths]
    with _marked(folder) as (mark, refused):
        nodes: dict[str, Any] = prober.ask(ask_nodes, address, [*shared, *filter(None, [mark])])
    driver = node_facts(shared)
    answers = {name: facts for name, facts in nodes.items() if "error" not in facts}
    yield ok("Ray cluster", f"{address}: {counted(len(nodes), 'node')}")
    for name, facts in nodes.items():
        if "error" in facts:
            hint = "install the same odtk-ray there, and see that the node is alive"
            yield problem(f"node {name}", facts["error"], hint)
        else:
            yield from _compare(name, facts, driver)
            yield from _missing(name, facts, shared)
    if refused:
        yield _unshared(run_dir, f"{folder} cannot be written: {refused}")
    elif without := [name for name, facts in answers.items() if mark in facts["missing"]]:
        text = f"{folder} is another folder, or none, on {', '.join(without)}"
        yield _unshared(run_dir, text)
    elif answers:
        yield ok("shared folder", f"every node sees {folder}")


def _unshared(run_dir: str | None, text: str) -> Finding:
    hint = "run folders must lie on shared storage or a URI: --run-dir"
    # Without --run-dir nobody said that a run would use this folder.
    found = warning if run_dir is None else problem
    return found("shared folder", text, hint)


def _compare(name: str, facts: dict[str, Any], driver: dict[str, Any]) -> Iterator[Finding]:
    """Compare the versions of a node with those here."""
    theirs, ours = facts["versions"], driver["versions"]
    bad = [_versions(p, theirs, ours) for p in _SAME if theirs.get(p) != ours.get(p)]
    odd = [_versions(p, theirs, ours) for p in _ALIKE if theirs.get(p) != ours.get(p)]
    gpus = ", ".join(f"{gpu} ({capability})" for gpu, capability in facts["gpus"])
    where = f"node {name}"
    if bad:
        yield problem(where, f"has {'; '.join(bad)}", "install the same versions on every node")
    if odd:
        yield warning(where, f"has {'; '.join(odd)}", "install the same versions on every node")
    if not bad and not odd:
        yield ok(where, f"the same versions; {gpus or 'no GPU'}")
    elif gpus:
        yield ok(where, gpus)


def _versions(package: str, theirs: dict[str, str], ours: dict[str, str]) -> str:
    return f"{package} {theirs.get(package) or 'missing'}, here {ours.get(package) or 'missing'}"


def _missing(name: str, facts: dict[str, Any], paths: list[str]) -> Iterator[Finding]:
    for path in paths:
        if path in facts["missing"]:
            hint = "put it on storage that every node sees, under the same path, or give a URI"
            yield problem(f"node {name}", f"there is no {path}", hint)


@contextlib.contextmanager
def _marked(folder: str) -> Iterator[tuple[str, str]]:
    """Lay a file into a folder for the time of a check; yield its path, or why there is none."""
    path = os.path.join(folder, f".odtk-ray-doctor-{secrets.token_hex(8)}")
    if "://" in folder:
        yield "", ""
        return
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except OSError as error:
        yield "", error.strerror or str(error)
        return
    try:
        yield path, ""
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def ask_nodes(address: str, paths: list[str]) -> dict[str, Any]:
    """Have every node tell its facts, in the process of a prober.

    Returns:
        by the address of each node, what `node_facts` returned there, or an `error`.
    """
    import ray
    from ray.exceptions import RayError

    from odtk_ray.cluster.gpu_nodes import NODE_LABEL
    from odtk_ray.cluster.session import session

    with session(address, 0):
        alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        task: Any = ray.remote(num_cpus=0, max_calls=1)(node_facts)
        calls = {
            node["NodeID"]: task.options(label_selector={NODE_LABEL: node["NodeID"]}).remote(paths)
            for node in alive
        }
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=_SECONDS)
        found: dict[str, Any] = {}
        for node in alive:
            name = str(node["NodeManagerAddress"])
            if name in found:  # several nodes of one machine, as in tests
                name = f"{name} {node['NodeID'][:6]}"
            try:
                found[name] = ray.get(calls[node["NodeID"]], timeout=0)
            except RayError as error:
                found[name] = {"error": f"it does not answer: {_clause(error)}"}
    return found


def _clause(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return next((line.strip() for line in str(cause).splitlines() if line.strip()), "no message")


def node_facts(paths: list[str]) -> dict[str, Any]:
    """Return this machine's versions and GPUs, and which of some paths are missing here."""
    from odtk_ray.engines.local_gpus import list_gpus

    versions = {"Python": platform.python_version()}
    for package in (*_SAME, *_ALIKE):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    missing = [path for path in paths if not _exists(path)]
    return {"versions": versions, "gpus": list(map(list, list_gpus())), "missing": missing}


def _exists(path: str) -> bool:
    if "://" not in path:
        return os.path.exists(path)
    from odtk_ray import storage

    try:
        return storage.exists(path)
    except OSError:
        return False
