from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from odtk_ray.dispatch.endgame import Endgame, choose_recalls
from odtk_ray.dispatch.tasks import Task
from odtk_ray.dispatch.worker_state import WorkerState


def worker(pace, *images, done=0):
    """A ready worker with so many images in each shard that it holds."""
    made = WorkerState(0, 0.0, ready=True, pace=pace)
    for shard, count in enumerate(images):
        made.assign(Task(shard, count), 1, 0.0)
    made.done = {0: done}
    return made


@pytest.mark.parametrize(
    ("mine", "others", "shards", "expected"),
    [
        (worker(1.0), [], 1, True),  # alone
        (worker(1.0), [worker(1.0), worker(1.0)], 1, True),  # equal and idle: somebody takes it
        (worker(5.0), [worker(1.0)], 4, False),  # the other ends four in 4 s, this one one in 5 s
        (worker(5.0), [worker(1.0)], 5, True),  # 5 s either way
        (worker(5.0), [worker(1.0, 10)], 4, True),  # the other holds 1 s of work
        (worker(5.0), [worker(1.0, 10, done=10)], 4, False),  # which is nearly done
        (worker(None), [worker(1.0)], 1, True),  # nothing is known about it
        (worker(5.0), [WorkerState(1, 0.0, pace=1.0)], 1, True),  # the other is not ready
    ],
)
def test_a_slow_worker_leaves_the_end_to_the_others(mine, others, shards, expected):
    assert Endgame([mine, *others]).worthwhile(mine, 10, shards) is expected


@given(
    paces=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=4),
    held=st.lists(st.integers(1, 512), max_size=1),
    images=st.integers(1, 512),
    shards=st.integers(1, 9),
)
@example(paces=[0.1], held=[], images=3, shards=1)  # 3 * 0.1 / 0.1 > 3
def test_somebody_always_takes_what_is_left(paces, held, images, shards):
    workers = [worker(pace, *held) for pace in (*paces, paces[0])]
    assert any(Endgame(workers).worthwhile(one, images, shards) for one in workers)


@given(
    workers=st.lists(
        st.tuples(
            st.sampled_from([None, 0.0, 0.25, 1.0, 1.5, 5.0]),  # pace
            st.lists(st.integers(1, 40), max_size=2),  # images of the shards that it holds
            st.booleans(),  # ready
        ),
        min_size=1,
        max_size=8,
    ),
    images=st.integers(1, 40),
    shards=st.integers(1, 30),
)
def test_handing_out_decides_as_a_plain_loop_does(workers, images, shards):
    made = [worker(pace, *tasks) for pace, tasks, _ in workers]
    for one, (_, _, ready) in zip(made, workers, strict=True):
        one.ready = ready
    endgame = Endgame(made)
    for one in (one for one in made if one.ready):
        takes = endgame.worthwhile(one, images, shards)
        assert takes == plainly_worthwhile(one, made, images, shards)
        if takes and shards > 1:
            one.assign(Task(100 + shards, images), 1, 0.0)
            endgame.assign(one, images)
            shards -= 1


def plainly_worthwhile(mine, workers, images, shards):
    """Shards that the others end strictly before `mine` would end one do not reach `shards`."""
    if mine.pace is None:
        return True
    end = (mine.load + images) * Fraction(mine.pace)
    others = [one for one in workers if one is not mine and one.ready and one.pace]
    ended = (math.ceil((end / Fraction(one.pace) - one.load) / images) - 1 for one in others)
    return sum(max(0, count) for count in ended) < shards


def test_idle_workers_get_what_waits_behind_the_slowest():
    slow, slower, idle = worker(3.0, 10, 10), worker(5.0, 10, 10), worker(1.0)
    [recalled] = choose_recalls([slow, slower, idle])
    assert recalled is slower.assignments[1]
    recalled.recalled = True
    assert [a.worker for a in choose_recalls([slow, slower, idle])] == [slow]


def test_a_slow_idle_worker_helps_a_slower_one_behind_a_fast_one():
    fast, slower = worker(1.0, 40, 40), worker(5.0, 1, 10)
    assert choose_recalls([fast, slower, worker(3.0)]) == [slower.assignments[1]]


def test_nothing_is_recalled_for_a_slower_worker_or_from_a_single_shard():
    assert choose_recalls([worker(1.0, 10, 10), worker(5.0)]) == []
    assert choose_recalls([worker(1.0, 10), worker(1.0)]) == []
    assert choose_recalls([worker(1.0, 10, 10), worker(1.0, 10)]) == []
