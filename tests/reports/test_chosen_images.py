"""Which images a report shows."""

import numpy as np
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from odtk_ray.reports.chosen_images import MOST_IMAGES, choose_images

COUNTS = arrays.arrays(
    np.int32, st.tuples(st.integers(0, 300), st.just(7)), elements=st.integers(0, 5)
)


@examples(100)
@given(COUNTS)
def test_the_worst_are_those_with_most_errors_and_the_best_have_found_something(counts):
    worst, best = choose_images(counts)
    errors, right = counts[:, 1:].sum(axis=1), counts[:, 0]
    assert len(worst) + len(best) <= MOST_IMAGES
    assert not set(worst) & set(best)
    assert np.all(np.diff(errors[worst]) <= 0)
    assert np.all(errors[worst] > 0)
    assert np.all(right[best] > 0)
    left = np.setdiff1d(np.arange(len(counts)), np.concatenate([worst, best]))
    if len(worst) and len(left):
        assert errors[left].max() <= errors[worst].min()
    if len(best) and len(left):
        f1 = 2 * right / np.maximum(2 * right + errors, 1)
        assert f1[best].min() >= f1[left].max()


def test_without_images_there_are_none():
    worst, best = choose_images(np.zeros((0, 7), np.int32))
    assert len(worst) == len(best) == 0
