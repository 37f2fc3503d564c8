"""Every order of faults that Hypothesis thinks of: each shard is committed once, with its rows."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from checked_driver import CheckedDriver, DriverKilled, create_run
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from simulated_cluster import Cluster, Gpu, Image

from odtk_ray.errors import OdtkError
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.worker.shard_worker import CRASHED

RAM = "/dev/shm" if os.path.isdir("/dev/shm") else None  # what is synced must not wait for a disk
BREAKING = (Image.CRASHES, Image.HANGS)
SPECIAL = [image for image in Image if image not in (Image.FINE, Image.CURSED)]
MOST_ROUNDS = 8000  # of 4 s; a hang takes 30 of them or ten median shards
OUTAGE_ROUNDS = 40  # until storage comes back at last
PICK = st.integers(0, 30)
GPUS = st.builds(
    Gpu,
    speed=st.sampled_from([2.0, 0.3, 5.0, 8.0]),
    compatible=st.sampled_from([True] * 7 + [False]),
    deaths=st.sampled_from([0] * 7 + [1, 2, 3]),
    node=st.sampled_from("abc"),
)


class Faults(RuleBasedStateMachine):
    """Anything may happen between two rounds of the driver, and to the driver."""

    @initialize(
        sizes=st.lists(st.integers(1, 10), min_size=6, max_size=20),
        special=st.lists(st.tuples(PICK, st.sampled_from(SPECIAL)), max_size=3),
        gpus=st.lists(GPUS, min_size=2, max_size=5),
        timeout=st.sampled_from([30.0, None]),
        elastic=st.booleans(),
        how=st.fixed_dictionaries({"backwards": st.booleans(), "commit_late": st.booleans()}),
    )
    def begin(self, sizes, special, gpus, timeout, elastic, how):
        self.temporary = tempfile.TemporaryDirectory(dir=RAM)
        self.folder = f"{self.temporary.name}/run"
        create_run(self.folder, sizes)
        self.images = [Image.FINE] * sum(sizes)
        for place, image in special:
            for neighbour in (0, 1) if image is Image.CROWDED else (0,):
                self.images[(place + neighbour) % len(self.images)] = image
        self.cluster = Cluster(self.images, gpus)
        self.options = {"timeout": timeout, "elastic": elastic}
        self.how = how
        self.driver = CheckedDriver(self.folder, self.cluster, **self.options)
        self.failing = False  # whether a check has failed

    @property
    def done(self):
        return not self.driver.dispatch.unfinished

    def processes(self):
        """Those that the driver takes for its own."""
        return [p for p in self.cluster.processes if self.cluster.process_of(p.worker) is p]

    def victim(self, number):
        """Choose a process that something happens to: one or none.

        One that is not ready may be late without end, since it may wait for a free GPU.
        """
        several = [p for p in self.processes() if p.alive and not p.hangs and p.worker.ready]
        return several[number % len(several) :][:1] if several else []

    def round(self, **how):
        """One round; a driver that ends with a good reason is replaced by `--resume`."""
        self.failing = True
        try:
            self.driver.round(**self.how, **how)
        except DriverKilled:
            self.resume()
        except OdtkError as error:
            self.driver.check_reason(error)
            self.resume()
        if self.done:
            assert self.driver.run.missing_shards() == []
        self.failing = False

    def resume(self):
        self.cluster.end_all()
        self.driver = CheckedDriver(self.folder, self.cluster, **self.options)

    @precondition(lambda self: not self.done)
    @rule(rounds=st.integers(1, 12), seconds=st.sampled_from([4.0, 0.5, 1.0, 2.0]))
    def go_on(self, rounds, seconds):
        for _ in range(rounds):
            if not self.done:
                self.cluster.advance(seconds)
                self.round()

    @rule(number=PICK, dies=st.booleans())
    def break_a_worker(self, number, dies):
        for process in self.victim(number):
            if dies:
                process.die()
            else:
                process.hangs = True

    @rule(number=PICK)
    def cut_a_worker_off(self, number):
        for process in self.victim(number):
            process.cut_off = process.was_cut_off = True

    @rule(number=PICK)
    def take_storage_away(self, number):
        for process in self.processes()[number % 4 :]:
            process.waiting = True

    @rule()
    def bring_storage_back(self):
        for process in self.cluster.processes:
            process.waiting = False

    @rule(replaced=st.booleans())
    def reconnect(self, replaced):
        """Let messages through again; those of workers that were replaced come late."""
        for process in self.cluster.processes:
            if (self.cluster.process_of(process.worker) is not process) == replaced:
                process.cut_off = False
                if replaced:
                    process.die()

    @rule(gpu=GPUS)
    def join(self, gpu):
        self.cluster.gpus.append(gpu)

    @rule(number=PICK, seconds=st.sampled_from([0.5, 14.0, 300.0]))
    def lose_a_node(self, number, seconds):
        """It is known at once, or after longer than a hang takes."""
        self.cluster.lose(self.node(number), seconds)

    @rule(number=PICK, seconds=st.sampled_from([0.5, 14.0]))
    def crash_a_worker_unseen(self, number, seconds):
        for process in self.victim(number):
            process.vanish("crash", seconds)

    @rule(number=PICK)
    def drain_a_node(self, number):
        self.cluster.draining.add(self.node(number))
        self.driver.knows_of_draining = False

    def node(self, number):
        return self.cluster.gpus[number % len(self.cluster.gpus)].node

    @precondition(lambda self: not self.done)
    @rule(seconds=st.sampled_from([6.0, 40.0, 700.0]))
    def keep_the_driver_busy(self, seconds):
        self.cluster.advance(seconds)
        self.round()

    @precondition(lambda self: not self.done)
    @rule(point=st.sampled_from(["assigned", 0.0, 0.3, 0.6, 1.0, "replaced"]))
    def end_the_driver(self, point):
        """Kill it in mid-round, or let another one take over while it is at work."""
        if point != "replaced":
            self.cluster.advance(4.0)
            self.round(killed_at=point)
            return
        old, committed = self.driver, dict(self.driver.run.committed)
        RunFolder.reopen(self.folder).take_over()
        old.taken_over = True
        for _ in range(10):
            if self.driver is old:
                self.cluster.advance(4.0)
                self.round()
        assert old.run.committed == committed
        if self.driver is old:
            self.resume()

    def teardown(self):
        if hasattr(self, "driver"):
            with self.temporary:
                if not self.failing:
                    self.end_the_run()

    def end_the_run(self):
        self.cluster.gpus.append(Gpu(2.0, node="last"))
        for number in range(MOST_ROUNDS):
            if number == OUTAGE_ROUNDS:
                self.bring_storage_back()
            self.reconnect(replaced=True)
            if self.done:
                break
            self.cluster.advance(4.0)
            self.round()
        assert self.done, "the run does not end"
        check_results(self.folder, self.images, self.cluster.unlucky)


def check_results(folder, images, unlucky):
    """Every shard is in the journal once; the images that break their workers failed, no other.

    Unless two accidents happened to a worker while it probed the same image.
    """
    lines = Path(folder, "commits.jsonl").read_text(encoding="utf-8").splitlines()
    run = RunFolder.reopen(folder)
    run.take_over()
    assert sorted(json.loads(line)["shard"] for line in lines) == list(range(len(run.plan.shards)))
    assert run.missing_shards() == []
    for shard in run.plan.shards:
        table = pq.read_table(run.file(run.committed[shard.number]))
        assert table["index"].to_pylist() == sorted(shard.rows.tolist())
        for index, error in zip(sorted(shard.rows), table["error"].to_pylist(), strict=True):
            assert error in (None, CRASHED)
            assert (error == CRASHED) == (images[index] in BREAKING) or (error and index in unlucky)


TestFaults = Faults.TestCase
# All of them always: this is what stands for most runs on clusters.
TestFaults.settings = settings(
    max_examples=120,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
