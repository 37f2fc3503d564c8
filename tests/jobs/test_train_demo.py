"""The training job for real: Ray, two processes, a tiny picture, stopped and continued."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odtk_ray.training.photographs import Photograph

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture
def job(monkeypatch):
    monkeypatch.syspath_prepend(str(JOBS))
    yield importlib.import_module("train_demo")
    sys.modules.pop("train_demo")


def test_split_keeps_the_strip_for_validation(job):
    boxes = [[10, 10, 50, 50], [700, 1000, 740, 1050], [100, 880, 140, 920], [0, 950, 20, 990]]
    image = Image.new("RGB", (1250, 1300))
    image.paste((255, 0, 0), (0, 900, 1250, 1300))
    first = Photograph(image, np.array(boxes, np.float64))
    other = Photograph(Image.new("RGB", (50, 60)), np.empty((0, 4)))
    training, validation = job.split([first, other])
    assert [photograph.image.size for photograph in training] == [(1250, 900), (50, 60)]
    assert training[1] is other
    assert not np.asarray(training[0].image).any()
    # Half of the third box is above the border
    assert training[0].boxes.tolist() == [[10, 10, 50, 50], [100, 880, 140, 900]]
    # Squares from the right: 850 to 1250, 450 to 850, 50 to 450
    assert [photograph.image.size for photograph in validation] == [(400, 400)] * 3
    assert all((np.asarray(photograph.image) == (255, 0, 0)).all() for photograph in validation)
    expected = [[], [[250, 100, 290, 150]], [[50, 0, 90, 20]]]
    assert [photograph.boxes.tolist() for photograph in validation] == expected


def test_the_test_photographs_are_not_among_those_that_are_read(job):
    assert all("YELL" in name for name in job.PHOTOGRAPHS)
    assert len(job.PHOTOGRAPHS) == 2
