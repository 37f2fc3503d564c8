"""What the driver concludes from what it knows of one worker."""

from __future__ import annotations

import pytest

from odtk_ray.dispatch.tasks import Task
from odtk_ray.dispatch.worker_state import Progress, WorkerState


@pytest.mark.parametrize(
    ("held", "alone", "expected"),  # whether each of them is to run alone
    [
        ([], False, True),
        ([], True, True),
        ([False], False, True),
        ([False], True, False),  # it would share the blame for a crash
        ([True], False, False),
        ([True], True, False),
        ([False, False], False, False),
    ],
)
def test_a_task_that_runs_alone_has_the_worker_to_itself(held, alone, expected):
    worker = WorkerState(0, 0.0, ready=True)
    for number, other in enumerate(held):
        worker.assign(Task(number, 10, alone=other), number, 0.0)
    assert worker.accepts(Task(9, 10, alone=alone)) is expected
    worker.ready = False
    assert not worker.accepts(Task(9, 10, alone=alone))


@pytest.mark.parametrize(
    ("said", "moves"),
    [
        (Progress({0: 3}, 5, False, "w"), False),  # as before: it may hang, although it answers
        (Progress({0: 4}, 5, False, "w"), True),
        (Progress({0: 3}, 6, False, "w"), True),  # a tile more
        (Progress({}, 5, False, "w"), True),  # the shard is done
        (Progress({0: 3}, 5, True, "w"), True),  # storage is away
    ],
)
def test_a_worker_that_answers_the_same_has_made_no_progress(said, moves):
    worker = WorkerState(0, -1.0, done={0: 3}, tiles=5)
    worker.note_progress(said, 7.0)
    assert worker.last_progress == (7.0 if moves else -1.0)
    assert (worker.done, worker.tiles) == (said.done, said.tiles)
