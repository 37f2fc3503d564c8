"""Many calls of one function, as Ray tasks all over the cluster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from odtk_ray.cluster.failures import task_error

if TYPE_CHECKING:
    from ray import ObjectRef

T = TypeVar("T")

_INTERVAL = 1.0  # seconds
# Seconds without a result after which others probably have all cores.
_PATIENCE = 30.0


def map_on_ray(
    function: Callable[..., T],
    calls: Sequence[tuple[Any, ...]],
    *,
    reserve: bool,
    selector: Mapping[str, str] | None = None,
    ended: Callable[[int], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> list[T]:
    """Call a function with each of some arguments; return what it returned, in their order.

    Args:
        function: runs in processes of Ray's; it must not raise for what a call may meet.
        calls: the arguments of each call.
        reserve: whether a task reserves a core; without, it runs beside workers that have them all
            and wait. There are never more at once than cores.
        selector: Ray's labels of the nodes that may run it; None takes all.
        ended: called every second with the number of calls that have ended.
        note: receives remarks about cores that are waited for.

    Raises:
        OdtkError: a call raised, or its process died again and again.
    """
    import ray
    from ray.exceptions import RayError

    task: Any = ray.remote(num_cpus=int(reserve), scheduling_strategy="SPREAD")(function)
    if selector:
        task = task.options(label_selector=dict(selector))
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cores = max(int(resources.get("CPU", 1)), 1)
    results: dict[int, T] = {}
    running: dict[ObjectRef[T], int] = {}
    waiting = iter(enumerate(calls))
    begun = spoken = time.monotonic()
    try:
        while len(results) < len(calls):
            for number, arguments in itertools.islice(waiting, cores - len(running)):
                running[task.remote(*arguments)] = number
            done, _ = ray.wait(list(running), timeout=_INTERVAL)
            for ref in done:
                results[running.pop(ref)] = ray.get(ref)
            ended(len(results))
            if not results and time.monotonic() - spoken > _PATIENCE:
                spoken = time.monotonic()
                note(f"{spoken - begun:.0f} s: waiting for a free core of the cluster")
    except RayError as error:  # the others end by themselves: to cancel what just ends aborts Ray
        raise task_error(error) from error
    return [results[number] for number in range(len(calls))]
