from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.dispatch.worker_state import Endgame, Lane, Progress, Task, to_recall


def lane(pace, *images, done=0):
    """A ready worker with so many images in each task in hand."""
    made = Lane(0, None, ready=True, pace=pace)
    for shard, count in enumerate(images):
        made.tasks[shard] = Task(shard, count)
    made.progress = {0: done}
    return made


@pytest.mark.parametrize(
    ("in_hand", "task", "expected"),  # whether each of them is to run alone
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
def test_what_runs_alone_has_the_worker_to_itself(in_hand, task, expected):
    one = lane(1.0, *[10 for _ in in_hand])
    for held, alone in zip(one.tasks.values(), in_hand, strict=True):
        held.alone = alone
    assert one.accepts(Task(9, 10, alone=task), 2) is expected
    one.ready = False
    assert not one.accepts(Task(9, 10, alone=task), 2)


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
def test_a_worker_that_answers_the_same_has_not_moved(said, moves):
    one = Lane(0, None, progress={0: 3}, tiles=5, stirred=-1.0)
    one.note_progress(said)
    assert (one.stirred != -1.0) is moves
    assert (one.progress, one.tiles) == (said.done, said.tiles)


@pytest.mark.parametrize(
    ("mine", "others", "shards", "expected"),
    [
        (lane(1.0), [], 1, True),  # alone
        (lane(1.0), [lane(1.0), lane(1.0)], 1, True),  # all equal and idle: somebody takes it
        (lane(5.0), [lane(1.0)], 4, False),  # the other ends four in 4 s, this one one in 5 s
        (lane(5.0), [lane(1.0)], 5, True),  # 5 s either way
        (lane(5.0), [lane(1.0, 10)], 4, True),  # the other has 1 s of work in hand
        (lane(5.0), [lane(1.0, 10, done=10)], 4, False),  # which is nearly done
        (lane(None), [lane(1.0)], 1, True),  # nothing is known about it
        (lane(5.0), [Lane(1, None, ready=False, pace=1.0)], 1, True),  # the other is not there
    ],
)
def test_a_slow_worker_leaves_the_end_to_the_others(mine, others, shards, expected):
    assert Endgame([mine, *others]).worthwhile(mine, 10, shards) is expected


@pytest.mark.parametrize("paces", [(1, 1, 1, 1), (1, 2, 3, 4), (5, 1), (0.1, 7, 7)])
@pytest.mark.parametrize("shards", [1, 2, 9])
def test_somebody_always_takes_what_is_left(paces, shards):
    lanes = [lane(float(pace)) for pace in paces]
    assert any(Endgame(lanes).worthwhile(one, 10, shards) for one in lanes)


@given(
    workers=st.lists(
        st.tuples(
            st.sampled_from([None, 0.0, 0.25, 1.0, 1.5, 5.0]),  # pace
            st.lists(st.integers(1, 40), max_size=2),  # images in hand
            st.booleans(),  # ready
        ),
        min_size=1,
        max_size=8,
    ),
    images=st.integers(1, 40),
    shards=st.integers(1, 30),
)
def test_handing_out_decides_as_a_plain_loop_does(workers, images, shards):
    lanes = [lane(pace, *tasks) for pace, tasks, _ in workers]
    for one, (_, _, ready) in zip(lanes, workers, strict=True):
        one.ready = ready
    endgame = Endgame(lanes)
    for one in (one for one in lanes if one.ready):
        takes = endgame.worthwhile(one, images, shards)
        assert takes == plainly_worthwhile(one, lanes, images, shards)
        if takes and shards > 1:
            one.tasks[len(one.tasks)] = Task(100 + one.number, images)
            endgame.hand(one, images)
            shards -= 1


def plainly_worthwhile(mine, lanes, images, shards):
    """Shards that the others end strictly before `mine` would end one do not reach `shards`."""
    if mine.pace is None:
        return True
    end = (mine.load + images) * mine.pace
    others = [one for one in lanes if one is not mine and one.ready and one.pace]
    ended = (math.ceil((end / one.pace - one.load) / images) - 1 for one in others)
    return sum(max(0, count) for count in ended) < shards


def test_idle_workers_get_what_waits_behind_the_slowest():
    slow, slower, idle = lane(3.0, 10, 10), lane(5.0, 10, 10), lane(1.0)
    [(victim, task)] = to_recall([slow, slower, idle])
    assert victim is slower
    assert task.shard == 1
    task.recalled = True
    assert [v for v, _ in to_recall([slow, slower, idle])] == [slow]


def test_nothing_is_recalled_for_a_slower_worker_or_from_a_single_shard():
    assert to_recall([lane(1.0, 10, 10), lane(5.0)]) == []
    assert to_recall([lane(1.0, 10), lane(1.0)]) == []
    assert to_recall([lane(1.0, 10, 10), lane(1.0, 10)]) == []
