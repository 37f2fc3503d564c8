"""How fast a written model is: launches are full, and the median counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from odtk_ray.exports.check import speed


class Clock:
    """A clock that launches move."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize(("batch", "pictures"), [(1, 2), (4, 4), (8, 3)])
def test_the_median_of_full_launches(monkeypatch, batch, pictures):
    clock, takes = Clock(), itertools.cycle([0.5, 0.25, 0.25])
    monkeypatch.setattr(speed, "time", clock)
    launches = []

    class Detector:
        def detect(self, launch, shape):
            launches.append(len(launch))
            # Three launches come before those that are timed.
            clock.now += 60.0 if len(launches) <= 3 else next(takes)

    shown = [np.zeros((4, 4, 3), np.uint8)] * pictures
    assert speed.images_per_second(Detector(), shown, (4, 4), batch) == batch / 0.25
    assert launches == [batch] * 6
