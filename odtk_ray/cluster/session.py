"""The Ray session of a run: on an existing cluster, or started for the run."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Collection, Iterator
from tempfile import gettempdir
from typing import Any

from odtk_ray.cluster.private_ray import replaced, small_ray
from odtk_ray.cluster.private_token import private_token
from odtk_ray.cluster.reach_cluster import check_answers
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.plural import counted
from odtk_ray.worker.fleet import Fleet, physical_cores

# Enough for plans of many million images; Ray's default is 30% of the memory.
_LOCAL_OBJECT_STORE_BYTES = 512 << 20


@contextlib.contextmanager
def session(address: str | None, cpus: int, metrics_port: int | None = None) -> Iterator[bool]:
    """Connect to the cluster at `address` or `RAY_ADDRESS`, or start one on this machine.

    Args:
        address: of a cluster; None takes `RAY_ADDRESS`, and without it starts Ray here.
        cpus: CPU slots that a cluster started here must have.
        metrics_port: where a cluster started here offers its metrics; None starts it without.

    Yields:
        whether Ray was started here.

    Raises:
        UsageError: there is a `metrics_port`, and Ray is not started here.
        OdtkError: the cluster does not answer, or Ray does not start.
    """
    # Ray will change this default, and warns about it in every run that reserves no GPU.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    running = ray.is_initialized()
    address = address or os.environ.get("RAY_ADDRESS")
    if metrics_port is not None:
        _check_metrics_port(metrics_port, ours=not running and not address)
    if running:  # by the calling program, which keeps its session
        yield False
        return
    if address:
        check_answers(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with _silent_driver(), contextlib.nullcontext() if address else private_token():
        try:
            if address:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                _start_here(cpus, metrics_port)
        except Exception as error:  # Ray raises bare ones too, as where a node takes long to start
            raise _no_ray(address, error) from error
        if threading.current_thread() is threading.main_thread():
            # Ray replaced them by its own, which end the process at once with a stack dump.
            for number, handler in handlers.items():
                signal.signal(number, handler)
        try:
            yield not address
        finally:
            ray.shutdown()


def _silent_driver() -> contextlib.AbstractContextManager[None]:
    """Have Ray print nothing in the block of what happens to nodes: our warnings say it.

    It would print the last lines of a scheduler's log for each node that is lost, to standard
    output, whatever `log_to_driver` says.
    """
    from ray._private import worker

    return replaced(worker, "print_to_stdstream", lambda *_, **__: None)


def _start_here(cpus: int, metrics_port: int | None) -> None:
    """Start Ray on this machine: with few processes, or with all of its own for its metrics."""
    import ray

    with small_ray() if metrics_port is None else contextlib.nullcontext():
        ray.init(
            address="local",
            num_cpus=max(cpus, len(os.sched_getaffinity(0))),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_LOCAL_OBJECT_STORE_BYTES,
            _metrics_export_port=metrics_port,
        )


def _check_metrics_port(port: int, *, ours: bool) -> None:
    """Refuse a port that is in use, or where the Ray is not `ours`.

    Ray itself would wait half a minute for a port, and then not say what it waited for.
    """
    if not ours:
        raise UsageError(
            "--metrics-port is for a Ray that the run starts",
            "this run uses a cluster, which has an endpoint of its own",
        )
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            why = error.strerror or str(error)
            raise OdtkError(
                f"cannot use port {port} for metrics", why, "give another --metrics-port"
            ) from error


def _no_ray(address: str | None, error: Exception) -> OdtkError:
    """Create the error for a Ray that cannot be reached or started."""
    why = str(error).strip().split("\n", 1)[0]
    if address:
        return OdtkError(
            f"cannot reach the Ray cluster at {address}",
            why,
            "`ray status` on the head shows whether it runs",
        )
    hint = "`df -h /tmp /dev/shm`, `free` and `ulimit -a` show what may be used up"
    if "AF_UNIX" in why:
        why = f"the folder for temporary files has too long a name for sockets: {gettempdir()}"
        hint = "export RAY_TMPDIR=/tmp, or another short folder"
    elif isinstance(error, PermissionError):
        hint = "export RAY_TMPDIR= a folder that can be written"
    return OdtkError("cannot start Ray on this machine", why, hint)


def choose_fleet(
    workers: int | None,
    threads: int | None,
    *,
    local: bool,
    left_out: Collection[str] = (),
    least: int | None = None,
    spread: bool = False,
    most: int | None = None,
) -> Fleet:
    """Choose the number and kind of workers from the user's settings and the cluster's resources.

    Args:
        workers: `--workers`; None takes every GPU, or where there is none one CPU worker, or with
            `spread` all cores.
        threads: `--threads-per-worker`; None shares the cores among the workers.
        local: whether Ray was started here, with as many CPU slots as the workers need.
        left_out: ids of nodes that are not used.
        least: `--min-workers`, some of which may wait for nodes that are to come.
        spread: whether a cluster without GPUs gives a worker to each node, or several.
        most: of these at most so many, also later; None takes all.

    Raises:
        UsageError: the cluster has no room for that many workers, so the run would never start.
    """
    import ray

    slots, gpus = [], 0
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for node in (node for node in nodes if node["Alive"] and node["NodeID"] not in left_out):
        slots.append(int(node["Resources"].get("CPU", 0)))
        gpus += int(node["Resources"].get("GPU", 0))
    if not slots:
        raise UsageError("no node takes part", "all that are alive are left out")
    if gpus:
        if workers and workers > gpus:
            raise UsageError(
                f"--workers {workers} is more than the {counted(gpus, 'GPU')} that can be used"
            )
        return Fleet(workers or max(gpus, least or 0), True, threads or 4, elastic=workers is None)
    if workers is None and spread and not local and any(slots):
        threads = threads or min(slot for slot in slots if slot)
        room = sum(slot // threads for slot in slots)
        if most is not None and most < room:
            return Fleet(most, False, threads)
        if room or least:
            return Fleet(max(room, least or 0), False, threads, elastic=True)
    return _cpu_fleet(workers or 1, threads, slots, local=local)


def _cpu_fleet(workers: int, threads: int | None, slots: list[int], *, local: bool) -> Fleet:
    """Fit so many CPU workers into nodes with so many CPU slots."""
    if threads is None:
        cores = physical_cores() if local else sum(slots)
        threads = max(1, min(cores // workers, max(slots)))
        while threads > 1 and sum(slot // threads for slot in slots) < workers:
            threads -= 1  # nodes cannot be shared out evenly
    room = sum(slot // threads for slot in slots)
    if workers > room:
        each = counted(threads, "thread")
        raise UsageError(
            counted(workers, f"worker of {each} does", f"workers of {each} do")
            + " not fit into the cluster",
            f"its nodes have {', '.join(map(str, slots))} CPU slots: room for {room}",
            "lower --workers or --threads-per-worker, or let an autoscaler start nodes with "
            "--wait-for-nodes SECONDS --min-workers N",
        )
    return Fleet(workers, False, threads)
