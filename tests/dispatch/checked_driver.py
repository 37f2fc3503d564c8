"""A driver that runs `Dispatch` on a simulated cluster and a real run folder, and checks each step.

It does what `cluster/dispatcher.py` does with Ray, and delivers what Ray would not: receipts of
workers that were replaced, and receipts twice.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from simulated_cluster import Cluster, Image, Process
from synthetic import make_run_plan

from odtk_ray.dispatch.dispatch import Dispatch
from odtk_ray.errors import OdtkError
from odtk_ray.shards.cut_shards import Shard
from odtk_ray.shards.run_folder import RunFolder

LONGEST_PAUSE = 5.0  # seconds; a longer pause of the driver is no hang of a worker
TOO_LATE = 12.0  # rounds come every 4 s and a report is a round old


def create_run(folder, sizes):
    """Make a run folder with shards of these sizes; images are numbered across them."""
    bounds = np.cumsum([0, *sizes])
    rows = [np.arange(a, b, dtype=np.int64)[::-1] for a, b in pairwise(bounds)]
    plan = make_run_plan(list(range(bounds[-1])))
    plan = replace(plan, shards=[Shard(number, indices) for number, indices in enumerate(rows)])
    RunFolder.create(folder, plan)


class DriverKilled(Exception):
    """The driver's process is gone."""


class CheckedDriver:
    def __init__(self, folder, cluster: Cluster, timeout=None, elastic=False):
        self.run = RunFolder.reopen(folder)
        self.run.take_over()
        self.cluster = cluster
        rows = {shard.number: shard.rows for shard in self.run.missing_shards()}
        self.left_out = set()
        self.elastic = elastic
        self.dispatch = Dispatch(rows, rows, max(1, self.room()), cluster.now, timeout)
        self.order = list(rows)  # shards that nobody has had
        self.suspected = set()  # shards whose worker crashed
        self.finished = set()
        self.attempts = 0
        self.crashes = 0  # in a row
        self.deaths = Counter()
        self.lost = Counter()  # workers, while they had only that image, or that shard singly
        self.stuck = Counter()  # seconds for which processes have worked on nothing
        self.late = set()  # shards that a replaced worker's receipt committed
        self.last_round = cluster.now
        self.taken_over = False
        self.knows_of_draining = False  # all that drain now
        self.recalled = set()
        for worker in self.dispatch.workers:
            cluster.start(worker, self.run, self.left_out)

    def room(self):
        return sum(gpu not in self.left_out for gpu in self.cluster.available())

    def round(self, *, backwards=False, commit_late=False, killed_at=None):
        """One turn of the loop in `Dispatcher`.

        Args:
            backwards: take in what the workers say in another order.
            commit_late: commit receipts of replaced workers too.
            killed_at: end at that point: "assigned", or a share of what a commit writes.
        """
        self._hand_out()
        if killed_at == "assigned":
            raise DriverKilled
        messages = self._messages()
        receipts = []
        try:
            for process, kind, value in reversed(messages) if backwards else messages:
                receipts += self._take_in(process, kind, value, commit_late)
        finally:
            self._commit(receipts, killed_at)
        now = self.cluster.now
        self._replace_hanging(now)
        self._leave_draining_nodes()
        for worker in self.dispatch.workers:
            process = self.cluster.process_of(worker)
            if worker.ready and worker.reachable and worker.assignments and not process.asked:
                process.ask()
        if self.elastic:
            for worker in self.dispatch.grow(self.room(), now):
                self.cluster.start(worker, self.run, self.left_out)
        held = [a for w in self.dispatch.workers for a in w.assignments]
        assert 0 <= self.dispatch.images_in_progress <= sum(a.task.images for a in held)

    # Hand-outs

    def _hand_out(self):
        while made := self.dispatch.assignments(self.cluster.now):
            for assignment in made:
                self._check_assignment(assignment)
                assert assignment.worker.reachable
                assert not assignment.worker.draining
                self.cluster.process_of(assignment.worker).call(assignment)
            if not all(assignment.task.alone for assignment in made):
                assert not self._suspects(), "suspects come first"
            for worker in self.dispatch.workers:
                self._check_holdings(worker)
        self._check_that_nobody_starves()
        recalled = self.dispatch.recalls()
        for assignment in recalled:
            assert not assignment.task.alone
            assert assignment not in self.recalled, "recalled twice"
            self.recalled.add(assignment)
            self.cluster.process_of(assignment.worker).recall(assignment)
        if not recalled:
            self._check_that_nothing_waits_behind_others()

    def _suspects(self):
        return self.dispatch._suspects.queue

    def _check_assignment(self, assignment):
        task, worker = assignment.task, assignment.worker
        assert worker in self.dispatch.workers
        assert self.cluster.process_of(worker).ready
        assert assignment.attempt > self.attempts
        self.attempts = assignment.attempt
        assert task.shard not in self.finished
        assert task.alone == (task.shard in self.suspected)
        rows = enumerate(self.run.plan.shards[task.shard].rows)
        lost_twice = {index for row, index in rows if self.lost[task.shard, row] > 1}
        assert task.skip == (lost_twice if task.row is None else set())
        others = [a for w in self.dispatch.workers for a in w.assignments if a is not assignment]
        for other in (other for other in others if other.task.shard == task.shard):
            assert None not in (task.row, other.task.row), "a shard is given to two workers"
            assert task.row != other.task.row, "an image is given to two workers"
        if task.shard in self.order:
            assert task.shard == self.order.pop(0)

    def _check_holdings(self, worker):
        held = worker.assignments
        assert len(held) <= 2
        if any(a.task.shard in self.suspected for a in held):
            assert len(held) == 1, "a suspect runs alone"

    def _idle(self):
        """Workers that could be given something."""
        ready = [w for w in self.dispatch.workers if w.ready and w.reachable]
        nodes = self.cluster.draining if self.knows_of_draining else ()
        return [w for w in ready if w.node not in nodes and not w.assignments]

    def _check_that_nobody_starves(self):
        idle = self._idle()
        if idle:
            assert not self._suspects()
        if not self.dispatch.pending:
            return
        assert len(idle) < len(self.dispatch.workers), "nobody takes a shard"
        images = self.dispatch._pending[0].images
        for worker in idle:
            assert self._others_are_sooner(worker, images), "a worker is idle"

    def _others_are_sooner(self, worker, images):
        """Apply the rule of the endgame: the others end all before this one would end a shard."""
        left = self.dispatch.pending
        if left > 16 * len(self.dispatch.workers) or not worker.pace:
            return False
        end = images * Fraction(worker.pace)
        others = [w for w in self.dispatch.workers if w is not worker and w.serves and w.pace]
        rounding = Fraction(1, 10**9)
        ended = (
            math.ceil((end / Fraction(w.pace) - w.load) / images - rounding) - 1 for w in others
        )
        return sum(max(0, count) for count in ended) >= left

    def _check_that_nothing_waits_behind_others(self):
        if self.dispatch.pending or self._suspects():
            return
        for idle in self._idle():
            for other in (w for w in self.dispatch.workers if w.reachable):
                if len(other.assignments) > 1 and not other.assignments[1].recalled:
                    assert (idle.pace or 0) > (other.pace or idle.pace or 0), "should be recalled"

    # What workers say

    def _messages(self):
        """What all processes have said, and those that the driver can hear."""
        messages = []
        for process in list(self.cluster.processes):
            if not process.cut_off:
                messages += [(process, *message) for message in process.outbox]
                process.outbox.clear()
                if not process.alive and process.verdict is None:
                    self.cluster.processes.remove(process)
        return messages

    def _take_in(self, process: Process, kind, value, commit_late):
        now, worker = self.cluster.now, process.worker
        if self.cluster.process_of(worker) is not process:
            return self._take_in_late(kind, value, commit_late)
        self.stuck.pop(process, None)
        if kind == "crash":
            self._crashed(worker, "killed")
        elif kind == "lost":
            self._lost(worker)
        elif kind == "unreachable":
            self.dispatch.unreachable(worker)
        elif kind == "incompatible":
            self._dismissed(worker, value)
        elif kind == "report":
            self.deaths[worker] = 0
            self.dispatch.reported(worker, value, now)
            assert worker.ready
        else:
            return self._take_back(*value)
        return []

    def _take_back(self, assignment, receipt):
        now = self.cluster.now
        self.crashes = 0
        if assignment.task.row is not None:
            self.dispatch.probed(assignment, now)
        elif receipt is None:
            before = self.dispatch.pending
            self.dispatch.handed_back(assignment, now)
            assert self.dispatch.pending == before + 1
        else:
            assert self.dispatch.finished(assignment, now) is not None
            assert self.dispatch.finished(assignment, now) is None  # twice
            self.finished.add(assignment.task.shard)
            return [receipt]
        return []

    def _take_in_late(self, kind, value, commit_late):
        """A process that was replaced still says something: it must not count."""
        if kind != "ended":
            return []
        assignment, receipt = value
        before = (self.dispatch.pending, set(self.dispatch.unfinished), len(self._suspects()))
        if assignment.task.row is not None:
            self.dispatch.probed(assignment, self.cluster.now)
        elif receipt is None:
            self.dispatch.handed_back(assignment, self.cluster.now)
        else:
            assert self.dispatch.finished(assignment, self.cluster.now) is None
        assert before == (self.dispatch.pending, self.dispatch.unfinished, len(self._suspects()))
        if receipt is None or not commit_late:
            return []
        self.late.add(receipt.shard)
        return [receipt]

    def _crashed(self, worker, why):
        self.crashes += 1
        self.deaths[worker] += 1
        for task in (assignment.task for assignment in worker.assignments):
            self.suspected.add(task.shard)
            self._count_loss(task)
        self.cluster.kill(worker)
        if self.dispatch.crashed(worker, why):
            assert self.deaths[worker] < 3
            assert not worker.assignments
            self.cluster.start(worker, self.run, self.left_out)
        else:
            assert self.deaths[worker] == 3
            assert worker not in self.dispatch.workers

    def _lost(self, worker):
        """What it held is handed out again as if nothing had happened."""
        waiting = self.dispatch.pending + len(self._suspects())
        held = len(worker.assignments)
        self.cluster.kill(worker)
        self.dispatch.lost(worker)
        assert self.dispatch.pending + len(self._suspects()) == waiting + held
        assert not worker.assignments
        self.cluster.start(worker, self.run, self.left_out)

    def _leave_draining_nodes(self):
        for worker in self.dispatch.drain(self.cluster.draining):
            assert worker.node in self.cluster.draining
            assert not worker.assignments
            self._lost(worker)
        self.knows_of_draining = True

    def _count_loss(self, task):
        if task.row is not None or task.singly:
            self.lost[task.shard, task.row] += 1
        if task.row is not None and self.lost[task.shard, task.row] > 1:
            index = int(self.run.plan.shards[task.shard].rows[task.row])
            if self.cluster.images[index] not in (Image.CRASHES, Image.HANGS):
                self.cluster.unlucky.add(index)

    def _dismissed(self, worker, gpu):
        self.left_out.add(gpu)
        self.cluster.kill(worker)
        if self.dispatch.dismissed(worker, OdtkError("the GPU has no plan"), self.room()):
            self.cluster.start(worker, self.run, self.left_out)

    def _replace_hanging(self, now):
        pause, self.last_round = now - self.last_round, now
        for worker in self.dispatch.workers:
            process = self.cluster.process_of(worker)
            if process is None or not (process.hangs or process.cut_off) or not worker.assignments:
                self.stuck.pop(process, None)
            elif pause <= LONGEST_PAUSE:
                self.stuck[process] += pause
        limit = self.dispatch.hang_limit
        for worker in self.dispatch.hanging(now):
            process = self.cluster.process_of(worker)
            assert process.hangs or process.was_cut_off, "a worker that works was replaced"
            self._crashed(worker, "hangs")
        for worker in self.dispatch.workers:
            late = self.stuck[self.cluster.process_of(worker)] - limit
            assert late <= TOO_LATE, "a worker hangs and nobody minds"

    # Commits

    def _commit(self, receipts, killed_at):
        if killed_at is not None:
            self._begin_commit(receipts, killed_at)
            raise DriverKilled
        if not receipts:
            return
        fresh = {receipt.shard for receipt in receipts} - set(self.run.committed)
        assert self.run.commit(*receipts) == len(fresh)
        committed = self.run.committed.values()
        assert self.run.images_done == sum(receipt.rows for receipt in committed)
        missing = {shard.number for shard in self.run.missing_shards()}
        assert missing <= self.dispatch.unfinished <= missing | self.late

    def _begin_commit(self, receipts, share):
        """Write a share of what a commit writes."""
        fresh = {r.shard: r for r in reversed(receipts) if r.shard not in self.run.committed}
        text = "".join(json.dumps(asdict(receipt)) + "\n" for receipt in fresh.values())
        with Path(self.run.path, "commits.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(text[: math.ceil(share * len(text))])

    def check_reason(self, error: OdtkError):
        """See that a run may end with that error now."""
        if "crash on every shard" in str(error):
            assert self.crashes >= 20
            assert self.crashes >= 4 * self.dispatch._slots
        elif "another run has taken over" in str(error):
            assert self.taken_over
        elif "although each of its images" in str(error):
            assert max(self.lost[shard, None] for shard in self.suspected) == 2
        else:
            assert "no worker is left" in str(error)
            assert not self.dispatch.workers
