"""The digest of a checkpoint: what changes it and what does not."""

import pytest
import torch
from odtk_files import SMALL, training_state, used

from odtk_ray.errors import UsageError
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.pth import CheckpointSettings
from odtk_ray.model.weights import digest as digest_of

DEAD = "backbones.MobileNetV2FPN.features.classifier.1.bias"
CONV = "backbones.MobileNetV2FPN.features.features.0.0.weight"


def poke(small, name, value):
    state = dict(small["state_dict"])
    state[name] = state[name].clone()
    state[name].view(-1)[0] = value
    return {"state_dict": state}


def zeros(small, dtype):
    return {
        "state_dict": {
            name: torch.zeros(t.shape, dtype=dtype) for name, t in small["state_dict"].items()
        }
    }


SAME = {
    "file format": lambda small: {},
    "optimizer": lambda small: training_state(),
    "iteration": lambda small: {"iteration": 1},
    "names": lambda small: {"class_names": ["a", "b", "c"]},
    "unused tensors absent": lambda small: {"state_dict": used(small["state_dict"])},
    "unused tensors other": lambda small: poke(small, DEAD, float("nan")),
    "parameters": lambda small: {
        "state_dict": {name: torch.nn.Parameter(t) for name, t in small["state_dict"].items()}
    },
    "strides": lambda small: {
        "state_dict": {
            # By hand: `contiguous` leaves the strides of a 1x1 convolution as they are.
            name: t.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if t.dim() == 4 else t
            for name, t in small["state_dict"].items()
        }
    },
}
OTHER = {
    "one weight": lambda small: poke(small, CONV, 0.125),
    "dtype": lambda small: {
        "state_dict": {name: t.half() for name, t in small["state_dict"].items()}
    },
    "float16 zeros": lambda small: zeros(small, torch.float16),
    "bfloat16 zeros": lambda small: zeros(small, torch.bfloat16),  # the same bytes
    "ratios": lambda small: {"ratios": [1.0, 2.0, 0.25]},
    "scales": lambda small: {"scales": [4.0, 5.0, 6.0]},
    "generation": lambda small: {"ratios": None, "scales": None},
}


@pytest.fixture(scope="module")
def digest(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "model.pth"
    torch.save(small, path)
    return load_checkpoint(path).sha256


@pytest.mark.parametrize("name", SAME)
def test_digest_ignores(write, small, digest, name):
    path = write(SAME[name](small), legacy=name == "file format")
    assert load_checkpoint(path).sha256 == digest


def test_digest_tells_apart(write, small):
    changes = [{}, *(change(small) for change in OTHER.values())]
    digests = [load_checkpoint(write(change)).sha256 for change in changes]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


def test_digest_ignores_the_order():
    settings = CheckpointSettings(backbones=(SMALL,), classes=1)
    weights = {"a": torch.ones(2), "b": torch.zeros(2)}
    turned = {"b": torch.zeros(2), "a": torch.ones(2)}
    swapped = {"a": torch.zeros(2), "b": torch.ones(2)}
    wanted = digest_of(settings, "current", weights)
    assert digest_of(settings, "current", turned) == wanted
    assert digest_of(settings, "current", swapped) != wanted


def test_the_strides_case_is_not_contiguous(small):
    assert not SAME["strides"](small)["state_dict"][CONV].is_contiguous()


def test_expected_digest(write, small, digest):
    assert load_checkpoint(write(), expect=digest).sha256 == digest
    other = write(poke(small, CONV, 0.125))
    with pytest.raises(UsageError, match=f"this run's is {digest[:12]}"):
        load_checkpoint(other, expect=digest)
