"""Which launches are measured by whom, and which one a run takes: `--batch auto`."""

from __future__ import annotations

import pytest

from odtk_ray.dispatch.launch_survey import (
    LaunchSurvey,
    choose_launch,
    full_share,
    launch_sizes,
    next_launch,
)
from odtk_ray.errors import OdtkError
from odtk_ray.shards.launch_rates import LaunchRate

SIZES = [1, 2, 4, 8, 16, 32]
FULL = dict.fromkeys(SIZES, 1.0)


def rates(*per_second, seconds=0.0, memory=0.0):
    """Of launches of 1, 2, 4, ... images."""
    pairs = zip(SIZES, per_second, strict=False)
    return [LaunchRate(launch, rate, seconds, memory) for launch, rate in pairs]


@pytest.mark.parametrize(("least", "greatest", "sizes"), [
    (1, 1, [1]),
    (8, 8, [8]),
    (1, 16, [1, 2, 4, 8, 16]),
    (3, 12, [3, 4, 8, 12]),
])  # fmt: skip
def test_sizes_are_powers_of_two_and_the_ends(least, greatest, sizes):
    assert launch_sizes(least, greatest) == sizes


@pytest.mark.parametrize(("counts", "launch", "share"), [
    ([], 4, 1.0),
    ([8, 16], 4, 1.0),
    ([20], 8, 20 / 24),        # three launches of 8
    ([5] * 20, 64, 100 / 1280),  # a launch for each of twenty shapes
])  # fmt: skip
def test_the_share_of_places_with_a_picture(counts, launch, share):
    assert full_share(counts, launch) == share


@pytest.mark.parametrize(("measured", "full", "launch"), [
    ([], FULL, 1),
    (rates(10), FULL, 2),
    (rates(10, 9), FULL, 4),             # one that is no faster proves nothing
    (rates(10, 9, 10), FULL, None),      # two in a row do
    (rates(10, 10.5, 10.6), FULL, 8),    # 10.6 is 1.06 times 10
    (rates(10, 20, 20, 20), FULL, None),
    (rates(10, 20, 30, 40, 50, 60), FULL, None),  # there is no larger one
    # Of launches of 2 and 4 only half and a quarter of the places would be used.
    (rates(10, 19, 38), FULL | {2: 0.5, 4: 0.25}, None),
    (rates(10, 20, seconds=1.0), FULL, 4),        # 2 s, and 2 s more
    (rates(10, 20, 30, seconds=1.0), FULL, 8),    # 3 s, and 2 s more
    (rates(10, 20, 30, 40, seconds=1.0), FULL, None),  # 4 s, and 2 s more, are too many
    (rates(10, memory=0.45), FULL, 2),
    (rates(10, memory=0.46), FULL, None),         # twice that leaves less than a tenth
])  # fmt: skip
def test_launches_are_doubled_while_that_is_worth_it(measured, full, launch):
    assert next_launch(measured, SIZES, full) == launch


@pytest.mark.parametrize(("kinds", "full", "launch"), [
    ([rates(5)], FULL, 1),
    ([rates(10, 19, 20, 20.9)], FULL, 4),     # 95% of 20.9 is 19.855
    ([rates(10, 20, 19, 18)], FULL, 2),
    ([rates(10, 10.2, 9)], FULL, 1),
    # 8 places are three quarters full: 30, and 4 have 29.
    ([rates(10, 20, 29, 40)], FULL | {8: 0.75}, 4),
    # The sums are 110, 190, 199: 95% of 199 is 189.05.
    ([rates(10, 10, 9), rates(100, 180, 190)], FULL, 2),
    # What the first kind has no room for is left out.
    ([rates(10, 20), rates(100, 200, 400)], FULL, 2),
])  # fmt: skip
def test_the_smallest_launch_near_the_best_is_taken(kinds, full, launch):
    assert choose_launch(kinds, full) == launch


def survey(kinds, sizes=(1, 2)):
    made = LaunchSurvey(sizes, FULL)
    made.enrol(kinds)
    return made


def test_one_worker_of_each_kind_measures():
    made = survey({0: "A", 1: "A", 2: "B"})
    assert made.calls() == [(0, 1), (2, 1)]
    assert made.calls() == []  # they are busy
    made.measured(2, LaunchRate(1, 5.0, 0.0))
    assert made.calls() == [(2, 2)]
    made.measured(0, LaunchRate(1, 7.0, 0.0))
    made.measured(2, LaunchRate(2, 6.0, 0.0))
    assert made.calls() == [(0, 2)]
    assert not made.done
    made.measured(0, LaunchRate(2, 14.0, 0.0))
    assert made.done
    assert {k: [r.launch for r in v] for k, v in made.rates().items()} == {"A": [1, 2], "B": [1, 2]}
    assert made.chosen() == 2


def test_another_of_the_kind_measures_when_one_dies():
    made = survey({0: "A", 1: "A", 2: "B"})
    made.calls()
    made.died(0, "a signal")
    assert made.calls() == [(1, 1)]
    made.died(1, "a signal")
    made.measured(2, LaunchRate(1, 5.0, 0.0))
    assert made.remarks == ["launches of 1 image are left out: workers die of it (a signal)"]
    assert made.calls() == [(2, 2)]
    made.measured(2, LaunchRate(2, 5.0, 0.0))
    assert made.done
    assert made.chosen() == 1


def test_its_heir_measures_where_it_was_alone():
    made = survey({0: ""})
    for launch in (1, 2):
        assert made.calls() == [(0, launch)]
        made.died(0, "a signal")
        assert made.calls() == [(0, launch)]
        made.measured(0, LaunchRate(launch, 5.0 * launch, 0.0))
    assert (made.done, made.remarks, made.chosen()) == (True, [], 2)


@pytest.mark.parametrize("happens", [
    lambda made: made.full(0),
    lambda made: made.measured(0, LaunchRate(2, 50.0, 0.0, memory=0.91)),
    lambda made: made.failed(0, OdtkError("a worker failed", "cuDNN has no room")),
])  # fmt: skip
def test_a_launch_that_does_not_fit_is_the_last(happens):
    made = survey({0: "", 1: ""}, (1, 2, 4))
    made.calls()
    made.measured(0, LaunchRate(1, 5.0, 0.0))
    assert made.calls() == [(0, 2)]
    happens(made)
    assert made.calls() == []
    assert (made.done, made.chosen()) == (True, 1)
    assert made.remarks[0].startswith("launches of 2 images are left out: ")


def test_without_any_rate_the_first_error_is_raised():
    made = survey({0: "", 1: ""})
    for number in range(2):
        assert made.calls() == [(number, 1)]
        made.failed(number, OdtkError(f"error {number}"))
    assert made.done
    with pytest.raises(OdtkError, match="error 0"):
        made.chosen()
    made.enrol({2: ""})
    assert made.calls() == [(2, 1)]


def test_a_launch_that_fits_nowhere_is_named():
    made = survey({0: ""})
    made.calls()
    made.full(0)
    with pytest.raises(OdtkError, match="launches of 1 image are left out"):
        made.chosen()
