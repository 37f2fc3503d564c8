"""Decides who measures which launch batch for `--batch auto`, and which one a run takes.

One worker of each kind measures, smallest launch first. The caller makes the calls and passes in
what became of them; see `cluster/crew.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from odtk_ray.dispatch.agreement import FREE_SHARE
from odtk_ray.errors import OdtkError
from odtk_ray.plural import counted
from odtk_ray.shards.launch_rates import LaunchRate

# The smallest launch is taken that has this share of the best rate: small launches waste less on
# shapes with few images, and rates of one launch differ by some percent between two measurements.
CLOSE = 0.95

# Launches are doubled until this many in a row are hardly faster than a smaller one.
_FLAT = 2

# Seconds of launches after which no larger one is tried; as many again that do not count, and the
# making of engines, come on top.
_BUDGET = 5.0

# Processes that may die of one launch: another worker may have more memory, or more luck.
_DEATHS = 2


def launch_sizes(least: int, greatest: int) -> list[int]:
    """Return the launches to try: powers of two within a range, and its ends."""
    powers = [1 << i for i in range(greatest.bit_length())]
    return sorted({least, *(size for size in powers if least < size < greatest), greatest})


def full_share(counts: Iterable[int], launch: int) -> float:
    """Return the share of the places in a run's launches that have a picture; others are zeros.

    Args:
        counts: number of images of each network input.
        launch: pictures in a launch.
    """
    counts = list(counts)
    places = sum(-(-count // launch) * launch for count in counts)
    return sum(counts) / places if places else 1.0


def next_launch(
    rates: Sequence[LaunchRate], sizes: Sequence[int], full: Mapping[int, float]
) -> int | None:
    """Return the launch that a kind of worker measures next; None if it has measured enough.

    Args:
        rates: what it has measured, smallest first.
        sizes: the launches that there are, smallest first.
        full: share of the places that have a picture, for each of them.
    """
    left = sizes[len(rates) :]
    if not rates or not left:
        return left[0] if left else None
    last, growth = rates[-1], left[0] / rates[-1].launch
    if last.memory * growth > 1 - FREE_SHARE:
        return None
    if sum(rate.seconds for rate in rates) + growth * last.seconds > _BUDGET:
        return None
    worth = [rate.images_per_second * full[rate.launch] for rate in rates]
    before, lately = worth[:-_FLAT], worth[-_FLAT:]
    flat = before and CLOSE * max(lately) <= max(before)
    return None if flat else left[0]


def choose_launch(rates: Collection[Sequence[LaunchRate]], full: Mapping[int, float]) -> int:
    """Return the smallest launch with 95% of the best rate.

    The rates of several kinds of workers are added up, of launches that all of them measured.

    Args:
        rates: what each kind has measured, one launch at least.
        full: as for `next_launch`.
    """
    by_kind = [{rate.launch: rate.images_per_second for rate in kind} for kind in rates]
    common = set.intersection(*map(set, by_kind))
    worth = {size: full[size] * sum(kind[size] for kind in by_kind) for size in common}
    return min(size for size in common if worth[size] >= CLOSE * max(worth.values()))


@dataclass
class _Kind:
    """The workers of one kind, those first that measure first, and what they have measured."""

    workers: list[int] = field(default_factory=list)
    rates: list[LaunchRate] = field(default_factory=list)
    busy: int | None = None  # the worker that measures `launch`
    launch: int = 0
    deaths: int = 0
    ended: bool = False
    error: OdtkError | None = None


class LaunchSurvey:
    """Collects rates until a launch can be chosen.

    Args:
        sizes: the launches that there are, smallest first.
        full: share of the places that have a picture, for each of them.

    Attributes:
        remarks: what was left out, and why; one sentence each.
    """

    def __init__(self, sizes: Sequence[int], full: Mapping[int, float]) -> None:
        self._sizes, self._full = sizes, full
        self._kinds: dict[str, _Kind] = {}
        self.remarks: list[str] = []

    def enrol(self, workers: Mapping[int, str]) -> None:
        """Take in workers that may measure, by number, with their kinds; more may come later."""
        for worker, kind in workers.items():
            self._kinds.setdefault(kind, _Kind()).workers.append(worker)

    def calls(self) -> list[tuple[int, int]]:
        """Return the workers that measure from now on, each with its launch."""
        made = []
        for kind in self._kinds.values():
            if kind.busy is None and (launch := self._next(kind)) is not None:
                kind.busy, kind.launch = kind.workers[0], launch
                made.append((kind.busy, launch))
        return made

    @property
    def done(self) -> bool:
        """Whether nothing is left to measure."""
        return all(k.busy is None and self._next(k) is None for k in self._kinds.values())

    def measured(self, worker: int, rate: LaunchRate) -> None:
        """Process the rate of a launch."""
        kind = self._free(worker)
        if rate.memory > 1 - FREE_SHARE:
            self._leave_out(kind, "too little of the GPU's memory stays free")
            return
        kind.rates.append(rate)
        kind.deaths = 0

    def full(self, worker: int) -> None:
        """Process that a launch does not fit in memory."""
        self._leave_out(self._free(worker), "they do not fit in memory")

    def died(self, worker: int, why: str) -> None:
        """Process the death of a worker's process; another one of its kind measures, or its heir.

        Args:
            worker: its number, which the process has that was started in its place.
            why: how it ended.
        """
        kind = self._free(worker)
        kind.workers.append(kind.workers.pop(kind.workers.index(worker)))
        kind.deaths += 1
        if kind.deaths == _DEATHS:
            self._leave_out(kind, f"workers die of it ({why})")

    def failed(self, worker: int, error: OdtkError) -> None:
        """Process that a worker cannot measure; another one does, unless the launch is the cause.

        A worker that has measured smaller ones fails because of the launch.
        """
        kind = self._free(worker)
        kind.error = kind.error or error
        kind.workers.remove(worker)
        if kind.rates:
            self._leave_out(kind, error.sentence)

    def rates(self) -> dict[str, tuple[LaunchRate, ...]]:
        """Return what was measured, by kind; kinds that measured nothing are not in it."""
        return {name: tuple(k.rates) for name, k in self._kinds.items() if k.rates}

    def chosen(self) -> int:
        """Return the launch to take.

        Raises:
            OdtkError: nothing could be measured.
        """
        if rates := self.rates():
            return choose_launch(rates.values(), self._full)
        errors = [kind.error for kind in self._kinds.values() if kind.error is not None]
        raise (
            errors[0]
            if errors
            else OdtkError(
                "--batch auto could not be measured",
                "; ".join(self.remarks) or "there is no worker",
                "give --batch N, or lower --resize and --max-size",
            )
        )

    def _next(self, kind: _Kind) -> int | None:
        if kind.ended or not kind.workers:
            return None
        return next_launch(kind.rates, self._sizes, self._full)

    def _free(self, worker: int) -> _Kind:
        """Return the kind of a worker that measures no longer."""
        kind = next(kind for kind in self._kinds.values() if kind.busy == worker)
        kind.busy = None
        return kind

    def _leave_out(self, kind: _Kind, why: str) -> None:
        """End the measuring of a kind; launches that are larger would be no better."""
        kind.ended = True
        self.remarks.append(f"launches of {counted(kind.launch, 'image')} are left out: {why}")
