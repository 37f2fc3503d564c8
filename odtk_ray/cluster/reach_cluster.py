"""Whether a Ray cluster answers, asked before Ray connects to it.

Ray itself repeats its question for a quarter of an hour, with its own lines on the screen, and
ends the process in the middle of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from odtk_ray.errors import OdtkError, UsageError

_PATIENCE = 10.0  # seconds; a head that is being replaced is back sooner
_PAUSE = 1.0
_OWN_CLUSTER = "without --address and RAY_ADDRESS the run starts Ray on this machine"


@dataclass(frozen=True)
class _Answer:
    """What a try to reach a cluster came to: nothing is wrong where `why` is empty."""

    why: str = ""
    hint: str = ""
    again: bool = False


def check_answers(address: str) -> None:
    """See that a Ray cluster answers and lets us in.

    Args:
        address: as `ray.init` takes it: HOST:PORT, or auto.

    Raises:
        UsageError: the address is one that `ray.init` cannot use.
        OdtkError: nothing answers within ten seconds, it is no Ray cluster, or it refuses us.
    """
    what = f"cannot reach the Ray cluster at {address}"
    host_and_port = _host_and_port(address, what)
    if host_and_port is None:
        return
    end = time.monotonic() + _PATIENCE
    answer = _ask(host_and_port)
    while answer.again and time.monotonic() < end:
        time.sleep(_PAUSE)
        answer = _ask(host_and_port)
    if answer.why:
        raise OdtkError(what, answer.why, answer.hint)


def _host_and_port(address: str, what: str) -> str | None:
    """Return where the head's server listens; None if this version of Ray cannot tell."""
    scheme = address.partition("://")[0] if "://" in address else ""
    if scheme in ("http", "https"):
        raise UsageError(
            what,
            "this is the address of the server for jobs",
            f"ray job submit --address {address} -- odtk-ray infer ..., or HOST:6379 as address",
        )
    if scheme:
        raise UsageError(
            what, "addresses are HOST:PORT or auto", "give the head's port, which is mostly 6379"
        )
    try:
        from ray._private.services import canonicalize_bootstrap_address
    except ImportError:  # not public: Ray says later what is wrong
        return None
    try:
        found: str | None = canonicalize_bootstrap_address(address)
    except ValueError as error:
        raise UsageError(what, "addresses are HOST:PORT or auto", _OWN_CLUSTER) from error
    except (ConnectionError, OSError) as error:
        why = "no cluster runs on this machine" if address == "auto" else str(error)
        raise OdtkError(what, why, f"`ray start --head` starts one; {_OWN_CLUSTER}") from error
    return found


def _ask(host_and_port: str) -> _Answer:
    """Ask the head's server for its cluster once, as Ray does first."""
    try:
        import grpc
        from ray._private.grpc_utils import init_grpc_channel

        messages: Any = import_module("ray.core.generated.gcs_service_pb2")
        services: Any = import_module("ray.core.generated.gcs_service_pb2_grpc")
    except ImportError:  # not public: Ray says later what is wrong
        return _Answer()
    # A pool of its own, since a shared one remembers for a while that nobody answered.
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    channel = init_grpc_channel(host_and_port, options)
    try:
        stub = services.NodeInfoGcsServiceStub(channel)
        stub.GetClusterId(messages.GetClusterIdRequest(), timeout=_PATIENCE / 2)
    except grpc.RpcError as error:
        return _explain(error)
    finally:
        channel.close()
    return _Answer()


def _explain(error: Any) -> _Answer:
    """Return what an error of gRPC means."""
    from grpc import StatusCode

    code, details = error.code(), str(error.details() or "")
    if code in (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED):
        return _Answer(
            "it asks for a token, and ours is missing or wrong",
            "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH as on the "
            "cluster",
        )
    if code == StatusCode.UNIMPLEMENTED or "HTTP/2" in details:
        return _Answer(
            "what answers there is no Ray cluster", "give the head's port, which is mostly 6379"
        )
    hint = f"`ray status` on the head shows its address; {_OWN_CLUSTER}"
    if "resol" in details or "lookup" in details:
        return _Answer("there is no host of this name", hint)
    refused = "refused" in details
    return _Answer("nothing listens there" if refused else "nothing answers", hint, again=True)
