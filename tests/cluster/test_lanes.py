from __future__ import annotations

import pytest

from odtk_ray.cluster.lanes import Lane, Task, to_recall, worthwhile


def lane(pace, *images, done=0):
    """A ready worker with so many images in each task in hand."""
    made = Lane(0, None, ready=True, pace=pace)
    for shard, count in enumerate(images):
        made.tasks[shard] = Task(shard, count)
    made.progress = {0: done}
    return made


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
    assert worthwhile(mine, [mine, *others], 10, shards) is expected


@pytest.mark.parametrize("paces", [(1, 1, 1, 1), (1, 2, 3, 4), (5, 1), (0.1, 7, 7)])
@pytest.mark.parametrize("shards", [1, 2, 9])
def test_somebody_always_takes_what_is_left(paces, shards):
    lanes = [lane(float(pace)) for pace in paces]
    assert any(worthwhile(one, lanes, 10, shards) for one in lanes)


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
