"""What the GPUs of a fleet do alike, whoever answers first, dies, is full or says nothing."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.dispatch.agreement import (
    PATIENCE,
    Agreement,
    Answer,
    GpuAbilities,
    common_abilities,
)
from odtk_ray.dispatch.worker_state import DEATHS_IN_A_ROW
from odtk_ray.errors import OdtkError
from odtk_ray.settings import PILLOW

HARD, SOFT, OLD = "nvimgcodec-0.9.0-hardware", "nvimgcodec-0.9.0-hybrid", "nvimgcodec-0.8.0-hybrid"


def able(*decoders, batch=8, kernels=True, remarks=()):
    return GpuAbilities(kernels, decoders, remarks, batch)


@pytest.mark.parametrize(
    ("found", "decoder", "batch", "said"),
    [
        ([able(HARD, SOFT)], HARD, 8, ""),
        ([able(HARD, SOFT)] * 2, HARD, 8, ""),
        ([able(HARD, SOFT), able(SOFT, batch=4)], SOFT, 4, f"decoded by {SOFT}"),
        ([able(SOFT, batch=2), able(HARD, SOFT)], SOFT, 2, f"decoded by {SOFT}"),
        ([able(HARD), able(SOFT)], PILLOW, 8, "decoded by the CPU"),
        ([able(SOFT), able(OLD)], PILLOW, 8, "decoded by the CPU"),
        ([able(), able()], PILLOW, 8, ""),
    ],
)
def test_the_best_that_all_can_do_is_taken(found, decoder, batch, said):
    both = common_abilities(found)
    assert (both.decoder, both.launch_batch) == (decoder, batch)
    assert both.kernels
    assert [said in remark for remark in both.remarks] == [True] * bool(said)


def test_remarks_are_said_once_and_kernels_are_needed_everywhere():
    without = able(kernels=False, remarks=("no kernels here",))
    both = common_abilities([able(remarks=("the CPU decodes JPEGs",)), without, without])
    assert not both.kernels
    assert both.remarks == ("the CPU decodes JPEGs", "no kernels here")


@dataclass
class Device:
    """A GPU of a made-up fleet.

    Attributes:
        kind: of the GPU.
        room: pictures that a launch may have here.
        broken: whether it can do nothing.
        deaths: processes that die before one answers.
        seconds: until a process answers or dies.
    """

    kind: str
    room: int
    broken: bool = False
    deaths: int = 0
    seconds: float = 1.0


def agree(devices, wanted, least=1, kinds=None):
    """Play a fleet through to its agreement; returns what it agreed on, and the agreement."""
    kinds = {d.kind for d in devices} if kinds is None else kinds
    agreement = Agreement(kinds, range(len(devices)), wanted, least)
    deaths = [device.deaths for device in devices]
    clock = itertools.count()
    events = [(d.seconds, next(clock), i, wanted) for i, d in enumerate(devices)]
    now = 0.0
    while True:
        again = agreement.retries(now)
        events += [(now + devices[i].seconds, next(clock), i, agreement.batch) for i in again]
        if (agreed := agreement.settled(now)) is not None:
            return agreed, agreement
        now += 0.25
        while events and min(events)[0] <= now:
            events.remove(event := min(events))
            _, _, i, batch = event
            device = devices[i]
            if deaths[i]:
                deaths[i] -= 1
                if agreement.died(i, "killed", now):
                    events.append((now + device.seconds, next(clock), i, batch))
            elif device.broken:
                agreement.answered(i, Answer(f"w{i}", device.kind, error=OdtkError(f"b{i}")), now)
            else:
                found = able(HARD, batch=batch) if device.room >= batch else None
                agreement.answered(i, Answer(f"w{i}", device.kind, found), now)
        assert now < 10_000


def expected(devices, wanted, least):
    """The largest launch that is tried and that some GPU of every usable kind has room for."""
    rooms = {}
    for device in devices:
        if not device.broken and device.deaths < DEATHS_IN_A_ROW:
            rooms[device.kind] = max(rooms.get(device.kind, 0), device.room)
    usable = [room for room in rooms.values() if room >= least]
    batch = wanted
    while usable and any(room < batch for room in usable):
        batch = max(batch // 2, least)
    return batch if usable else None


DEVICES = st.lists(
    st.builds(
        Device,
        kind=st.sampled_from(["A", "B", "C"]),
        room=st.integers(0, 40),
        broken=st.booleans() | st.just(False),
        deaths=st.just(0) | st.integers(0, DEATHS_IN_A_ROW),
        seconds=st.floats(0.5, PATIENCE / 8),
    ),
    min_size=1,
    max_size=8,
)


@given(DEVICES, st.integers(1, 64), st.integers(1, 4))
def test_one_idle_gpu_of_each_kind_decides_about_the_launch(devices, wanted, least):
    wanted = max(wanted, least)
    launch = expected(devices, wanted, least)
    if launch is None:
        with pytest.raises(OdtkError):
            agree(devices, wanted, least)
        return
    agreed, agreement = agree(devices, wanted, least)
    assert agreed.launch_batch == launch
    assert any("do not fit" in remark for remark in agreed.remarks) == (launch != wanted)
    for i in agreement.left_out:
        broken = devices[i].broken or devices[i].deaths == DEATHS_IN_A_ROW
        assert broken or devices[i].room < wanted


def test_a_full_gpu_halves_nobody_where_another_of_its_kind_is_free():
    full, free = Device("A", 3, seconds=1), Device("A", 100, seconds=30)
    agreed, agreement = agree([full, free], 8)
    assert agreed.launch_batch == 8
    assert agreed.remarks == ()
    assert [error.what for error in agreement.left_out.values()] == [
        "w0 has no memory for launches of 8 pictures"
    ]


@pytest.mark.parametrize(("seconds", "launch"), [(PATIENCE - 5, 4), (PATIENCE + 5, 8)])
def test_a_slow_kind_is_waited_for_two_minutes(seconds, launch):
    """The slow kind has room for four pictures, which matters only if its answer is waited for."""
    quick, slow = Device("A", 100, seconds=1), Device("B", 4, seconds=seconds)
    if launch == 4:  # the second try of the slow one begins when its first has failed
        slow.seconds /= 2
    agreed, agreement = agree([quick, slow], 8)
    assert agreed.launch_batch == launch
    assert agreement.left_out == {}


def test_where_kinds_are_not_told_apart_the_first_that_fits_is_enough():
    quick, slow = Device("", 100, seconds=1), Device("", 100, seconds=60)
    agreement = agree([quick, slow], 8, kinds=())[1]
    assert agreement.settled(1.25) is not None


def test_a_late_answer_to_a_larger_launch_is_no_answer_to_the_present_one():
    """The second GPU was asked about eight pictures, answers when four are tried, and has room."""
    agreement = Agreement({"A"}, range(2), 8)
    agreement.answered(0, Answer("w0", "A"), 0.0)
    assert agreement.retries(PATIENCE + 1) == [0]
    assert agreement.batch == 4
    agreement.answered(1, Answer("w1", "A"), PATIENCE + 2)
    assert agreement.retries(PATIENCE + 2) == [1]
    agreement.answered(0, Answer("w0", "A"), PATIENCE + 3)
    agreement.answered(1, Answer("w1", "A", able(HARD, batch=4)), PATIENCE + 4)
    assert agreement.retries(PATIENCE + 4) == []
    assert agreement.settled(PATIENCE + 4).launch_batch == 4
    assert list(agreement.left_out) == [0]


def test_another_gpu_is_wanted_before_a_launch_is_halved_or_given_up():
    agreement = Agreement((), [0], 8)
    assert not agreement.wants_more(0.0)
    agreement.answered(0, Answer("w0", ""), 1.0)
    assert agreement.wants_more(1.0)
    agreement.joined(1)
    assert not agreement.wants_more(1.0)
    agreement.answered(1, Answer("w1", "", able(HARD, batch=8)), 2.0)
    assert agreement.retries(2.0) == []
    assert agreement.settled(2.0).launch_batch == 8


def test_if_nothing_works_the_first_reason_is_given():
    with pytest.raises(OdtkError, match="b1"):
        agree([Device("A", 0), Device("A", 9, broken=True)], 8)
    with pytest.raises(OdtkError, match="not even 6 images"):
        agree([Device("A", 5), Device("A", 4)], 16, 6)
