"""Decides what the GPUs of a run do alike: answers in, tries and what all of them can do out.

Launch batch and decoder belong to the plan, and depend on GPUs that the driver may not have. Every
worker tries its own; the plan is made when one of each kind has answered. The caller starts the
workers and passes in all times; see `cluster/crew.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from odtk_ray.dispatch.worker_state import DEATHS_IN_A_ROW
from odtk_ray.errors import OdtkError
from odtk_ray.plural import counted
from odtk_ray.settings import PILLOW

# Seconds that other kinds of GPUs have for their answers, once a first worker has answered.
PATIENCE = 120.0

# Share of the GPU's memory that must stay free once the largest shape is ready: for decoded
# pictures, the graphs of the other shapes and everything else that allocates.
FREE_SHARE = 0.1


@dataclass(frozen=True)
class GpuAbilities:
    """The abilities of a GPU, or those that several GPUs share.

    Attributes:
        kernels: whether the kernels of `cuda_ops` run.
        decoders: keys of the image decoders that work, the best first; Pillow's is not among them.
        remarks: what works less well than it could, and why; one sentence each.
        launch_batch: the largest launch that fits in memory, at most the one asked for.
    """

    kernels: bool
    decoders: tuple[str, ...]
    remarks: tuple[str, ...]
    launch_batch: int = 0

    @property
    def decoder(self) -> str:
        """Key of the image decoder to use."""
        return next(iter(self.decoders), PILLOW)


@dataclass(frozen=True)
class Answer:
    """The answer of a worker that has tried its GPU.

    Attributes:
        worker: its name.
        kind: of its GPU; empty where kinds are not told apart.
        found: what the GPU can do; None if the launch does not fit in its memory.
        error: why the worker cannot take part, whatever the launch.
    """

    worker: str
    kind: str
    found: GpuAbilities | None = None
    error: OdtkError | None = None


class Agreement:
    """Collects answers until the plan can be made.

    Args:
        kinds: kinds of GPUs that should answer; empty where they are not told apart.
        workers: numbers of the workers that try their GPUs.
        batch: pictures in a launch that was asked for.
        least: smallest launch that the model accepts.

    Attributes:
        batch: the launch that is tried now.
        left_out: by worker, why it takes no part; its GPU is full, or it raised.
    """

    def __init__(
        self, kinds: Collection[str], workers: Iterable[int], batch: int, least: int = 1
    ) -> None:
        self._kinds = frozenset(kinds)
        self._waiting = set(workers)
        self._wanted, self._least = batch, least
        self._answers: dict[int, Answer] = {}
        self._tried = dict.fromkeys(self._waiting, batch)
        self._late: list[int] = []  # their answers were about a larger launch than the present one
        self._deaths: dict[int, int] = {}
        self._first: float | None = None  # time of the first answer to the present try
        self.batch = batch
        self.left_out: dict[int, OdtkError] = {}

    def answered(self, worker: int, answer: Answer, now: float) -> None:
        """Process an answer."""
        if _full(answer) and self._tried[worker] > self.batch:
            self._late.append(worker)
            return
        self._waiting.discard(worker)
        self._answers[worker] = answer
        self._first = now if self._first is None else self._first

    def died(self, worker: int, why: str, now: float) -> bool:
        """Process the death of a worker that had not answered; return whether to start another."""
        self._deaths[worker] = self._deaths.get(worker, 0) + 1
        if self._deaths[worker] < DEATHS_IN_A_ROW:
            return True
        self.answered(worker, Answer("", "", error=OdtkError("a worker's process died", why)), now)
        return False

    def joined(self, worker: int) -> None:
        """Take in another worker, which tries `batch`."""
        self._waiting.add(worker)
        self._tried[worker] = self.batch

    def wants_more(self, now: float) -> bool:
        """Return whether all have answered and none can take part: another GPU may be free."""
        return self._complete(now) and not self._late and not self._fitting()

    def retries(self, now: float) -> list[int]:
        """Return the workers that must be started again, to try `batch`, which is smaller then.

        Raises:
            OdtkError: no worker can take part, or not even the smallest launch fits anywhere.
        """
        late, self._late = self._late, []
        self._tried |= dict.fromkeys(late, self.batch)
        if late or not self._complete(now):
            return late
        short = {a.kind for a in self._answers.values() if _full(a)} - self._fitting()
        full = [w for w, a in self._answers.items() if _full(a) and a.kind in short]
        if full and self.batch > self._least:
            self.batch = max(self.batch // 2, self._least)
            for worker in full:
                del self._answers[worker]
            self._waiting.update(full)
            self._tried |= dict.fromkeys(full, self.batch)
            self._first = None
            return full
        if not self._fitting():
            raise self._nothing_works()
        for worker, answer in self._answers.items():
            if answer.found is None:
                self.left_out[worker] = answer.error or _no_room(answer.worker, self.batch)
        return []

    def kinds(self) -> dict[int, str]:
        """Return the kinds of the workers that take part and have answered."""
        return {w: answer.kind for w, answer in self._answers.items() if answer.found is not None}

    def settled(self, now: float) -> GpuAbilities | None:
        """Return what all GPUs that take part can do, once the plan can be made; None before."""
        if not self._complete(now):
            return None
        found = [answer.found for answer in self._answers.values() if answer.found is not None]
        if not found:
            return None
        common = common_abilities(found)
        if common.launch_batch == self._wanted:
            return common
        remark = (
            f"{counted(self._wanted, 'image')} per launch do not fit in GPU memory: "
            f"using {common.launch_batch}"
        )
        return replace(common, remarks=(*common.remarks, remark))

    def _complete(self, now: float) -> bool:
        """Return whether no further answer is waited for."""
        if not self._waiting:
            return True
        if self._first is None:
            return False
        if now - self._first > PATIENCE:
            return True
        return bool(self._fitting()) and self._kinds <= self._fitting()

    def _fitting(self) -> set[str]:
        return {answer.kind for answer in self._answers.values() if answer.found is not None}

    def _nothing_works(self) -> OdtkError:
        for answer in self._answers.values():
            if answer.error is not None:
                return answer.error
        return OdtkError(
            "the GPU's memory is too small",
            f"not even {counted(self._least, 'image')} of the largest size at once",
            "lower --resize and --max-size, or export the model smaller",
        )


def _full(answer: Answer) -> bool:
    return answer.found is None and answer.error is None


def _no_room(worker: str, batch: int) -> OdtkError:
    return OdtkError(
        f"{worker} has no memory for launches of {counted(batch, 'picture')}",
        "others can run them",
    )


def common_abilities(found: Sequence[GpuAbilities]) -> GpuAbilities:
    """Return what all of several GPUs can do."""
    first = found[0]
    decoders = tuple(key for key in first.decoders if all(key in gpu.decoders for gpu in found))
    remarks = dict.fromkeys(remark for gpu in found for remark in gpu.remarks)
    best = {gpu.decoder for gpu in found}
    if len(best) > 1:
        chosen = next(iter(decoders), "the CPU")
        remarks[f"JPEGs are decoded by {chosen}, as every kind of GPU here can: "
                f"they differ in the best ({', '.join(sorted(best))})"] = None  # fmt: skip
    return GpuAbilities(
        all(gpu.kernels for gpu in found),
        decoders,
        tuple(remarks),
        min(gpu.launch_batch for gpu in found),
    )
