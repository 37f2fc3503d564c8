"""What Ray says of workers that are gone, in our words."""

import os

import pytest

from odtk_ray.cluster.failures import exit_reason, task_error
from odtk_ray.errors import OdtkError, UsageError

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


@pytest.mark.parametrize("kind", [OdtkError, UsageError])
def test_ray_raises_our_errors_as_both(kind, caplog):
    """Ray sets attributes; where it could not, 2.50 raised an AttributeError, and 2.60 warned."""
    from ray.exceptions import RayTaskError

    said = kind("a model cannot be used", "it has no anchors", "export it again")
    task = RayTaskError("function", "Traceback", said, proctitle="p", pid=1, ip="192.0.2.1")
    raised = task.as_instanceof_cause()
    assert isinstance(raised, RayTaskError)
    assert isinstance(raised, kind)
    assert raised.sentence == "a model cannot be used: it has no anchors"
    assert task_error(raised) is said
    assert not caplog.records
