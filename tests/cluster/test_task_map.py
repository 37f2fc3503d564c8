"""Calls as Ray tasks, where cores are free and where workers have them all."""

from __future__ import annotations

import pytest

from odtk_ray.cluster.task_map import map_on_ray
from odtk_ray.errors import OdtkError

pytestmark = pytest.mark.cluster


@pytest.fixture(params=[True, False], ids=["free cores", "no free core"])
def reserve(request, ray_session):
    """Whether tasks may reserve cores: not while actors have all of them."""
    import ray

    class Idle:
        def ready(self):
            return True

    actors = [] if request.param else [ray.remote(num_cpus=1)(Idle).remote() for _ in range(4)]
    ray.get([actor.ready.remote() for actor in actors])
    assert bool(ray.available_resources().get("CPU")) == request.param
    yield request.param
    for actor in actors:
        ray.kill(actor)


def test_results_come_in_order_and_errors_are_ours(reserve):
    def divide(a, b):
        return a // b

    calls = [(number**2, max(number, 1)) for number in range(12)]
    assert map_on_ray(divide, calls, reserve=reserve) == list(range(12))
    with pytest.raises(OdtkError, match="ZeroDivisionError: integer division or modulo by zero"):
        map_on_ray(divide, [(7, 3), (1, 0), (8, 2)], reserve=reserve)
    assert map_on_ray(divide, [], reserve=reserve) == []
