"""What the host computes for the kernels: resize coefficients, normalised values, the cut."""

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from cuda_ops import Level, Postprocess
from cuda_ops.postprocess import cut_bits
from cuda_ops.preprocess import resize_coefficients
from odtk_ray.images.resize import resize


def resize_axis(pixels, new_size):
    """One pass over the first axis with the coefficients that the kernel gets."""
    table = resize_coefficients(len(pixels), new_size)
    sums = np.full((new_size, *pixels.shape[1:]), 1 << 21, np.int32)
    for i in range(new_size):
        for k in range(table.counts[i]):
            sums[i] += table.values[i, k] * pixels[table.starts[i] + k].astype(np.int32)
    return np.clip(sums >> 22, 0, 255).astype(np.uint8)


sides = st.integers(1, 90)


@given(sides, sides, sides, sides, st.randoms(use_true_random=False))
@examples(150)
def test_two_passes_with_the_coefficients_are_pillow(w, h, new_w, new_h, random):
    pixels = np.frombuffer(random.randbytes(h * w * 3), np.uint8).reshape(h, w, 3)
    across = resize_axis(pixels.swapaxes(0, 1), new_w).swapaxes(0, 1)
    assert np.array_equal(resize_axis(across, new_h), resize(pixels, new_w, new_h))


@pytest.mark.parametrize(
    ("size", "new_size"), [(640, 1066), (480, 800), (5000, 1333), (1333, 5000), (20000, 7), (1, 1)]
)
def test_coefficients_of_usual_and_extreme_sizes_are_pillow(size, new_size):
    rng = np.random.default_rng(size)
    pixels = rng.integers(0, 256, (size, 1, 3), dtype=np.uint8)
    assert np.array_equal(resize_axis(pixels, new_size), resize(pixels, 1, new_size))


def test_golden_coefficients():
    # 3 -> 2: scale 1.5; centre 0.75, inputs from 0 (0.75 - 1.5 + 0.5 = -0.25) to before 2.75, so 2.
    # Distances (0.5 - 0.75) / 1.5 = -1/6 and (1.5 - 0.75) / 1.5 = 1/2: weights 5/6 and 1/2, which
    # sum to 4/3: 5/8 and 3/8 of 2^22 = 4194304.
    table = resize_coefficients(3, 2)
    assert table.starts.tolist() == [0, 1]
    assert table.counts.tolist() == [2, 2]
    assert table.values.tolist() == [[2621440, 1572864], [1572864, 2621440]]


EVERY_HALF = np.arange(65536, dtype=np.uint16).view(np.float16)
thresholds = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1e-30, 0.05, 0.5, 1.0]))


@given(thresholds, st.booleans())
def test_no_half_below_the_cut_is_a_candidate(threshold, logits):
    bits = cut_bits(threshold, "float16", logits=logits)
    assert bits & 0xFFFF == bits >> 16
    cut = np.uint16(bits & 0xFFFF).view(np.float16)
    values = torch.from_numpy(EVERY_HALF).float()
    scores = (values.sigmoid() if logits else values).numpy()
    candidates = scores > np.float32(threshold)
    below = np.less(EVERY_HALF, cut)
    assert not (candidates & below).any()
    # And the cut is close: a hundredth lower is none. Towards 1 the sigmoid's own error is larger.
    if candidates.any() and 1e-6 < threshold < 0.999:
        least = EVERY_HALF[candidates].astype(np.float64).min()
        assert least - 0.01 - abs(least) / 500 < float(cut) <= least


@given(st.floats(2**-20, 1 - 2**-16, width=32))
def test_no_float_below_the_cut_is_a_candidate(threshold):
    cut = np.uint32(cut_bits(threshold, "float32", logits=True)).view(np.float32)
    below = np.nextafter(cut, np.float32(-np.inf)) - np.linspace(0, 3, 1000, dtype=np.float32)
    scores = 1 / (1 + np.exp(-below.astype(np.float64)))
    # So far below the threshold that no float32 sigmoid of a few units' error reaches it.
    assert (scores < float(threshold) * (1 - 2**-20)).all()
    exact = np.log(float(threshold) / (1 - float(threshold)))
    assert exact - 0.6 < float(cut) < exact


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": []}, "0 levels"),
        ({"threshold": -0.1}, "the threshold is -0.1"),
        ({"threshold": float("nan")}, "the threshold is nan"),
        ({"batch": 0}, "at least 1"),
        ({"top_n": 0}, "at least 1"),
        ({"levels": [(1, 9), (1, 8)]}, "different numbers of anchors"),
        ({"levels": [(2**15, 9)], "classes": 10**4}, "cannot be indexed"),
        ({"score_bias": np.zeros(8)}, "8 biases are too few for 9 channels"),
        ({"delta_bias": np.zeros(35)}, "35 biases are too few for 36 channels"),
    ],
)
def test_settings_out_of_range_are_refused_before_the_gpu_is_asked(change, message):
    settings_ = {
        "levels": [(4, 9)],
        "batch": 1,
        "classes": 1,
        "threshold": 0.05,
        "top_n": 10,
        "nms": 0.5,
        "detections": 10,
        "dtype": "float16",
        "logits": True,
        "channels_last": True,
    } | change
    levels = [Level(side, side, 8, np.zeros((a, 4), np.float32)) for side, a in settings_["levels"]]
    with pytest.raises(ValueError, match=message):
        Postprocess(None, **{**settings_, "levels": levels})
