"""Single decisions, whose faults in combination are those of test_dispatch_machine.py."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from checked_driver import CheckedDriver, create_run
from simulated_cluster import Cluster, Gpu, Image

from odtk_ray.dispatch.dispatch import Dispatch
from odtk_ray.dispatch.worker_state import Progress
from odtk_ray.errors import OdtkError


def dispatch(shards, workers, images=10, ready=True, **options):
    """Decisions about so many shards and workers, which are ready."""
    rows = {shard: np.arange(images) + shard * images for shard in range(shards)}
    made = Dispatch(rows, rows, workers, 0.0, **options)
    for worker in made.workers if ready else ():
        report(made, worker, 0.0)
    return made


def report(made, worker, now, done=None, tiles=0, waiting=False):
    made.reported(worker, Progress(done or {}, tiles, waiting, f"GPU {worker.number}"), now)


def shards_of(worker):
    return [assignment.task.shard for assignment in worker.assignments]


def test_nothing_to_do():
    made = dispatch(0, 2)
    assert made.unfinished == set()
    assert made.assignments(1.0) == made.recalls() == made.hanging(1.0) == []


def test_all_workers_get_one_shard_before_any_gets_two():
    made = dispatch(9, 2)
    assert [(a.worker.number, a.task.shard, a.attempt) for a in made.assignments(1.0)] == [
        *((0, 0, 1), (1, 1, 2), (0, 2, 3), (1, 3, 4))
    ]
    assert made.pending == 5
    assert made.assignments(1.0) == []


def test_workers_get_nothing_before_they_are_ready():
    made = dispatch(4, 2, ready=False)
    assert made.assignments(1.0) == []
    report(made, made.workers[1], 2.0)
    assert {a.worker for a in made.assignments(2.0)} == {made.workers[1]}


def test_windows_of_processes_that_are_gone_stay_counted():
    made = dispatch(3, 2)
    one, other = made.workers
    report(made, one, 1.0, tiles=5)
    report(made, other, 1.0, tiles=3)
    assert made.windows_done == 8
    made.crashed(one, "killed")
    assert made.windows_done == 8
    report(made, one, 2.0, tiles=2)  # of its new process
    assert made.windows_done == 10


def test_a_shard_counts_once_and_only_from_the_worker_that_has_it():
    made = dispatch(3, 1)
    first, second = made.assignments(1.0)
    assert made.finished(first, 5.0) == 4.0
    assert made.finished(first, 6.0) is None
    assert made.crashed(made.workers[0], "died")
    assert made.finished(second, 7.0) is None
    assert made.unfinished == {1, 2}


def test_after_a_crash_all_that_the_worker_held_runs_alone():
    made = dispatch(9, 2)
    made.assignments(1.0)
    made.crashed(made.workers[0], "died")
    report(made, made.workers[0], 2.0)
    assert [(a.worker, a.task.shard, a.task.alone) for a in made.assignments(2.0)] == [
        (made.workers[0], 0, True)
    ]
    for assignment in list(made.workers[1].assignments):
        made.finished(assignment, 3.0)
    assert [a.task.shard for a in made.assignments(3.0)] == [2]  # of the other two suspects


def test_images_that_crash_alone_twice_are_skipped_and_the_rest_runs_singly():
    made = dispatch(1, 1, images=3)
    (worker,) = made.workers
    probes = []
    for now in itertools.count(1.0):
        (assignment,) = made.assignments(now)
        task = assignment.task
        if task.singly and task.row is None:
            break
        probes.append(task.row)
        if task.row in (None, 1):
            made.crashed(worker, "died")
            report(made, worker, now)
        else:
            made.probed(assignment, now)
    assert probes == [None, None, None, 0, 1, 2, 1]  # one crash beside others, two alone
    assert task.skip == {1}
    assert made.finished(assignment, now) is not None
    assert made.unfinished == set()


def test_a_shard_that_crashes_although_no_image_does_ends_the_run(tmp_path):
    create_run(str(tmp_path / "run"), [3, 1])
    images = [Image.FINE, Image.CURSED, Image.FINE, Image.FINE]
    cluster = Cluster(images, [Gpu(1.0), Gpu(1.0)])
    driver = CheckedDriver(str(tmp_path / "run"), cluster)

    def run():
        for _ in range(100):
            driver.round()
            cluster.advance(4.0)

    with pytest.raises(OdtkError, match="shard 0 crashes its worker: although none"):
        run()
    assert list(driver.run.committed) == [1]


@pytest.mark.parametrize(("workers", "limit"), [(2, 20), (5, 20), (30, 120)])
def test_crashes_with_nothing_done_in_between_end_the_run(workers, limit):
    """Twenty, or four for each worker."""
    made = dispatch(99, workers)
    turns = itertools.cycle(made.workers)

    def crash(times):
        for worker in itertools.islice(turns, times):
            assert made.crashed(worker, "died")
            report(made, worker, 1.0)

    crash(limit - 1)
    (assignment, *_) = made.assignments(1.0)
    made.finished(assignment, 2.0)
    crash(limit - 1)
    with pytest.raises(OdtkError, match="the workers crash on every shard: died"):
        made.crashed(next(turns), "died")


def test_a_lost_node_says_nothing_about_images():
    """What its workers held is handed out as before, and first, however often that happens."""
    made = dispatch(99, 22)
    for _ in range(10):
        held = [a.task for a in made.assignments(1.0)]
        assert sorted(task.shard for task in held) == list(range(44))
        assert not any(task.alone or task.crashes for task in held)
        for worker in reversed(made.workers[2:]):
            made.lost(worker)
        for worker in made.workers[2:]:
            report(made, worker, 2.0)
            assert worker.deaths == 0
        for worker in made.workers[:2]:
            made.lost(worker)
            report(made, worker, 2.0)


def test_a_suspect_whose_node_is_lost_is_still_one_and_no_worse():
    made = dispatch(1, 1)
    (worker,) = made.workers
    made.assignments(1.0)
    made.crashed(worker, "died")
    for now in (2.0, 3.0, 4.0):
        report(made, worker, now)
        (assignment,) = made.assignments(now)
        assert (assignment.task.alone, assignment.task.crashes) == (True, 0)
        made.lost(worker)


def test_a_worker_that_does_not_answer_keeps_what_it_holds_and_gets_nothing():
    made = dispatch(9, 2, shard_timeout=5.0)
    worker, other = made.workers
    held = [a.task.shard for a in made.assignments(1.0) if a.worker is worker]
    made.unreachable(worker)
    for assignment in list(other.assignments):
        made.finished(assignment, 3.0)
    assert {a.worker for a in made.assignments(3.0)} == {other}
    assert [made.hanging(now) for now in (7.0, 10.0, 14.0)] == [[], [other], [other]]
    assert shards_of(worker) == held
    made.lost(worker)
    report(made, worker, 14.0)
    assert [a.task.shard for a in made.assignments(14.0)] == held


def test_a_draining_node_ends_what_it_has_begun_and_no_more():
    made = dispatch(9, 2)
    worker, other = made.workers
    for each, node in ((worker, "spot"), (other, "stays")):
        made.reported(each, Progress({}, 0, False, "GPU", node), 0.0)
    first, _, second, _ = made.assignments(1.0)
    assert made.drain({"spot"}) == []
    assert made.recalls() == [first, second]  # one that has begun is not handed back
    assert made.recalls() == []
    made.handed_back(second, 2.0)
    assert made.assignments(2.0) == []
    made.finished(first, 3.0)
    assert made.assignments(3.0) == []
    assert made.drain({"spot"}) == [worker]
    made.lost(worker)
    assert made.drain({"spot"}) == []  # it is started elsewhere
    made.reported(worker, Progress({}, 0, False, "GPU", "spot"), 4.0)  # or there, before all knew
    assert made.assignments(4.0) == []
    assert made.drain({"spot"}) == [worker]


def test_a_worker_that_dies_three_times_before_it_is_ready_is_given_up():
    made = dispatch(9, 2, ready=False)
    first, second = made.workers
    assert [made.crashed(first, "died") for _ in range(2)] == [True, True]
    report(made, first, 1.0)
    assert [made.crashed(first, "died") for _ in range(3)] == [True, True, False]
    assert made.workers == [second]
    assert made.grow(2, 2.0) == []  # its GPU is taken for broken
    made.crashed(second, "died")
    made.crashed(second, "died")
    with pytest.raises(OdtkError, match="no worker is left: each died 3 times in a row: died"):
        made.crashed(second, "died")


def test_a_worker_on_an_incompatible_gpu_goes_elsewhere_if_there_is_room():
    made = dispatch(9, 2, ready=False)
    first, second = made.workers
    error = OdtkError("the GPU has no plan", "", "build it")
    assert made.dismissed(first, error, room=2)
    assert made.workers == [first, second]
    assert not made.dismissed(first, error, room=1)
    (third,) = made.grow(2, 1.0)
    assert made.workers == [second, third]
    assert len({first.number, second.number, third.number}) == 3
    assert not made.dismissed(second, error, room=1)
    with pytest.raises(OdtkError, match="no worker is left: the GPU has no plan\n  hint: build it"):
        made.dismissed(third, error, room=0)


def test_workers_are_added_for_pending_shards_only():
    made = dispatch(3, 1)
    assert made.grow(1, 1.0) == made.grow(0, 1.0) == []
    assert len(made.grow(9, 1.0)) == 3
    assert len(made.workers) == 4
    assert made.grow(4, 1.0) == []


@pytest.mark.parametrize(
    ("shard_timeout", "seconds", "limit"),
    [(None, [], 120), (None, [1, 2, 3], 120), (None, [13, 20, 21], 200), (7, [100], 7)],
)
def test_the_limit_of_hang_detection(shard_timeout, seconds, limit):
    made = dispatch(9, len(seconds), shard_timeout=shard_timeout)
    for now in range(30):  # without a pause
        for assignment in made.assignments(float(now)):
            if assignment.task.shard < len(seconds):
                assignment.since = now - seconds[assignment.task.shard]
                assignment.worker.last_end = -1000.0
                made.finished(assignment, float(now))
    assert made.hang_limit == limit


def test_a_worker_hangs_when_it_shows_no_progress():
    made = dispatch(9, 3, shard_timeout=10)
    stuck, working, waiting = made.workers
    made.assignments(0.0)
    for now in range(1, 15):
        report(made, working, float(now), tiles=now)
        report(made, waiting, float(now), waiting=True)
        assert made.hanging(float(now)) == ([stuck] if now > 10 else [])


def test_an_idle_worker_does_not_hang():
    made = dispatch(1, 2, shard_timeout=10)
    (assignment,) = made.assignments(0.0)
    made.finished(assignment, 1.0)
    for now in range(2, 30):
        assert made.hanging(float(now)) == []


def test_a_pause_of_the_driver_counts_neither_as_a_hang_nor_as_a_shards_time():
    made = dispatch(9, 2, shard_timeout=None)
    first, _ = made.assignments(0.0)[:2]
    made.hanging(4.0)
    assert made.hanging(1004.0) == []
    made.finished(first, 1004.0)
    assert made.hang_limit == 120
    for now in range(1008, 1124, 4):
        assert made.hanging(float(now)) == []
    assert made.hanging(1124.0) == [made.workers[1]]  # 4 s before the pause, 120 after it


def test_a_recalled_shard_goes_to_the_idle_worker():
    made = dispatch(6, 2)
    slow, fast = made.workers
    made.assignments(0.0)
    for now in (1.0, 2.0, 3.0, 4.0):
        for assignment in list(fast.assignments):
            made.finished(assignment, now)
        made.assignments(now)
    assert (shards_of(slow), shards_of(fast), made.pending) == ([0, 2], [], 0)
    (recalled,) = made.recalls()
    assert recalled is slow.assignments[1]
    assert made.recalls() == []
    made.handed_back(recalled, 5.0)
    assert [a.worker for a in made.assignments(5.0)] == [fast]
    assert (shards_of(slow), shards_of(fast)) == ([0], [2])


def test_images_in_progress_are_those_of_shards_that_are_held():
    made = dispatch(9, 2)
    first, second = made.workers
    made.assignments(0.0)
    report(made, first, 1.0, done={0: 4, 2: 1})
    report(made, second, 1.0, done={1: 2})
    assert made.images_in_progress == 7
    made.finished(first.assignments[0], 2.0)
    report(made, first, 2.0, done={0: 10, 2: 3})  # an answer that was under way
    assert made.images_in_progress == 5
    made.crashed(second, "died")
    assert made.images_in_progress == 3
