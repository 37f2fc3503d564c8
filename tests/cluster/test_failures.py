"""What Ray says of workers that are gone, in our words."""

import os

import pytest

from odtk_ray.cluster.failures import exit_reason

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("at_once", [True, False])
def test_the_exit_of_a_process_is_named(ray_session, at_once):
    """Also where it died in the constructor, when Ray ends with another line."""
    import ray

    class Dies:
        def __init__(self):
            if at_once:
                os._exit(7)

        def call(self):
            os._exit(7)

    actor = ray.remote(Dies).remote()
    with pytest.raises(ray.exceptions.RayActorError) as failure:
        ray.get(actor.call.remote())
    assert "Worker exit type" in exit_reason(failure.value)
