"""The actors of a run from their start to the dispatcher: what they do before there is a plan."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from odtk_ray.cluster.failures import Loss, could_not_start, exit_reason, loss_of, unfit_node
from odtk_ray.cluster.node_watch import driver_lost
from odtk_ray.dispatch.agreement import Agreement, Answer, GpuAbilities
from odtk_ray.dispatch.launch_survey import LaunchSurvey
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import OdtkError
from odtk_ray.reporter import Reporter
from odtk_ray.worker.gpu_trial import GpuTrial
from odtk_ray.worker.shard_work import WorkerSettings

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

    from odtk_ray.cluster.node_selection import NodeSelection
    from odtk_ray.dispatch.worker_state import Progress

# Seconds between two looks at the answers.
_LOOK_INTERVAL = 0.2
# Seconds between two remarks about answers that are waited for.
_SPEAK_INTERVAL = 60.0
# Seconds that a launch batch may take to be measured, the start of its worker and the reading of
# the model included: far more, so that only a worker that hangs is replaced.
_MEASURE_PATIENCE = 600.0


class Crew:
    """The actors that no dispatcher has taken yet.

    Args:
        start: starts an actor.
        nodes: the nodes that take part; those whose GPUs cannot are added to the ones left out.
        reporter: receives remarks.
        look: called while answers are waited for; raises an OdtkError if the cluster is gone.

    Attributes:
        left_out: number of GPUs that were tried and take no part.
    """

    def __init__(
        self,
        start: Callable[[], ActorHandle[Any]],
        nodes: NodeSelection,
        reporter: Reporter,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self._start, self._nodes, self._reporter, self._look = start, nodes, reporter, look
        self._actors: dict[int, ActorHandle[Any]] = {}
        self._numbers = itertools.count()
        self._spare = 0
        self.left_out = 0
        self._calls: dict[ObjectRef[Answer], int] = {}
        self._kinds: dict[int, str] = {}  # of those that have tried their GPUs

    def __len__(self) -> int:
        return len(self._actors)

    def recruit(self, count: int, spare: int = 0) -> None:
        """Start actors; they import what their engines will need, and wait.

        Args:
            count: how many have something to do.
            spare: how many more the fleet has room for, in the place of those that are unfit.
        """
        for _ in range(count):
            self._start_one()
        self._spare = spare

    def _start_one(self) -> int:
        number = next(self._numbers)
        self._actors[number] = self._start()
        return number

    def begin_trial(self, trial: GpuTrial, least: int = 1) -> Callable[[], GpuAbilities]:
        """Have the actors try their GPUs; see `Workers.begin_trial`.

        Args:
            trial: what they try; its settings have the launch batch that was asked for.
            least: smallest launch batch that the model accepts.
        """
        wanted = trial.load.settings.launch_batch
        agreement = Agreement(self._nodes.kinds, self._actors, wanted, least)
        self._try(list(self._actors), trial, wanted)
        return lambda: self._agree(agreement, trial)

    def _agree(self, agreement: Agreement, trial: GpuTrial) -> GpuAbilities:
        """Collect answers, and have those try again that must, until the agreement stands."""
        import ray

        started = spoken = time.monotonic()
        while True:
            self._look()
            again = self._collect(agreement)
            now = time.monotonic()
            if self._spare and agreement.wants_more(now):  # those that are unfit keep their GPUs
                self._spare -= 1
                again.append(another := self._start_one())
                agreement.joined(another)
            else:
                unsettled = agreement.retries(now)
                for worker in unsettled:
                    self._replace(worker)
                again += unsettled
            self._try(again, trial, agreement.batch)
            if (agreed := agreement.settled(now)) is not None:
                break
            if now - spoken > _SPEAK_INTERVAL:
                spoken = now
                self._reporter.note(
                    f"{now - started:.0f} s: trying what GPUs can do, or waiting for a GPU"
                )
        self.left_out, self._kinds = len(agreement.left_out), agreement.kinds()
        for worker, error in agreement.left_out.items():
            ray.kill(self._actors.pop(worker))
            self._nodes.leave_out(error, self._reporter, f"worker {worker}")
        return agreed

    def measure_launches(self, load: EngineLoader, survey: LaunchSurvey) -> None:
        """Have actors measure launches; see `Workers.measure_launches`.

        Those whose process died, or ran out of GPU memory, are started again. Those that still try
        their GPUs are taken in when they have answered.
        """
        import ray

        survey.enrol(self._kinds or dict.fromkeys(self._started_first(), ""))
        late = dict(self._calls)
        calls: dict[ObjectRef[Any], int] = {}
        begun: dict[int, float] = {}
        while not survey.done or (late and not survey.rates()):
            self._look()
            for worker, batch in survey.calls():
                call: Any = self._actors[worker].measure_launch.remote(load.with_launch(batch))
                calls[call], begun[worker] = worker, time.monotonic()
            done, _ = ray.wait([*calls, *late], timeout=_LOOK_INTERVAL)
            for ref in done:
                if ref in late:
                    self._enrol_late(survey, late.pop(ref), ref)
                else:
                    self._measured(survey, calls.pop(ref), ref)
            for ref, worker in list(calls.items()):
                if time.monotonic() - begun[worker] > _MEASURE_PATIENCE:
                    del calls[ref]
                    self._replace(worker)
                    survey.died(worker, "it hangs")

    def _started_first(self) -> list[int]:
        """Return the actors, beginning with one that has started: others may wait for room."""
        import ray

        calls = {actor.progress.remote(): worker for worker, actor in self._actors.items()}
        started: list[Any] = []
        while not started:
            self._look()
            started, _ = ray.wait(list(calls), timeout=_LOOK_INTERVAL)
        first = calls[started[0]]
        return [first, *(worker for worker in self._actors if worker != first)]

    def _enrol_late(self, survey: LaunchSurvey, worker: int, ref: ObjectRef[Answer]) -> None:
        """Take in a worker whose answer came after the agreement, unless it takes no part."""
        import ray
        from ray.exceptions import RayError

        with contextlib.suppress(RayError):  # `prepare` will meet it again
            answer = ray.get(ref)
            if answer.found is not None:
                del self._calls[ref]
                survey.enrol({worker: answer.kind})

    def _measured(self, survey: LaunchSurvey, worker: int, ref: ObjectRef[Any]) -> None:
        """Pass on what became of a measurement."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

        try:
            rate = ray.get(ref)
        except (RayTaskError, RayActorError, OutOfMemoryError) as error:
            if isinstance(error, RayTaskError) or could_not_start(error):
                survey.failed(worker, unfit_node(error, self._actors[worker]))
                return
            if loss_of(error) is Loss.DRIVER:
                raise driver_lost() from error
            self._replace(worker)
            survey.died(worker, exit_reason(error))
        except RayError as error:
            raise OdtkError("a worker cannot continue", exit_reason(error)) from error
        else:
            if rate is None:
                self._replace(worker)
                survey.full(worker)
            else:
                survey.measured(worker, rate)

    def take(self, settings: WorkerSettings, load: EngineLoader) -> tuple[Any, ObjectRef[Progress]]:
        """Hand out an actor, one that has tried its GPU if there is one, or start one.

        Returns:
            the actor, and its first report, which comes when its engine is as planned.
        """
        best = next(iter(self._by_merit()), None)
        actor: Any = self._start() if best is None else self._actors.pop(best)
        return actor, actor.prepare.remote(settings, load)

    def keep(self, count: int) -> None:
        """End all but so many of the actors."""
        import ray

        for worker in self._by_merit()[count:]:
            ray.kill(self._actors.pop(worker))  # frees its cores or GPU

    def dismiss(self) -> None:
        """End the actors that were not taken."""
        self.keep(0)

    def _by_merit(self) -> list[int]:
        """Return the actors, first those that have tried their GPUs."""
        late = set(self._calls.values())
        return sorted(self._actors, key=lambda worker: (worker in late, worker))

    def _try(self, workers: list[int], trial: GpuTrial, batch: int) -> None:
        settings = replace(trial.load.settings, launch_batch=batch)
        trial = replace(trial, load=replace(trial.load, settings=settings))
        for worker in workers:
            call: Any = self._actors[worker].try_for.remote(trial)
            self._calls[call] = worker

    def _collect(self, agreement: Agreement) -> list[int]:
        """Wait briefly for answers, and pass them on; return the workers to start again."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

        died: list[int] = []
        done, _ = ray.wait(list(self._calls), timeout=_LOOK_INTERVAL) if self._calls else ([], [])
        for ref in done:
            worker, now = self._calls.pop(ref), time.monotonic()
            try:
                answer = ray.get(ref)
            except (RayTaskError, RayActorError, OutOfMemoryError) as error:
                if self._ended(worker, error, agreement, now):
                    self._replace(worker)
                    died.append(worker)
            except RayError as error:
                raise OdtkError("a worker cannot continue", exit_reason(error)) from error
            else:
                agreement.answered(worker, answer, now)
        return died

    def _ended(self, worker: int, error: Exception, agreement: Agreement, now: float) -> bool:
        """Process that a worker ended without an answer; return whether to start it again."""
        from ray.exceptions import RayTaskError

        if isinstance(error, RayTaskError) or could_not_start(error):
            problem = unfit_node(error, self._actors[worker])
            agreement.answered(worker, Answer("", "", error=problem), now)
            return False
        loss = loss_of(error)
        if loss is Loss.DRIVER:
            raise driver_lost() from error
        return loss is Loss.NODE or agreement.died(worker, exit_reason(error), now)

    def _replace(self, worker: int) -> None:
        import ray

        ray.kill(self._actors[worker])
        self._actors[worker] = self._start()
