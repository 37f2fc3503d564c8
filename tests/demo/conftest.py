"""A trunk that is quick to make and lets signals through, and a checkpoint to start from."""

import contextlib
import math

import pytest
import torch
import torchvision
from training.silhouettes import NAMES
from training.start import starting_model

from odtk_ray.model.checkpoint import save_checkpoint
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES


@contextlib.contextmanager
def single_thread():
    """Sums in one order, whatever the tests before have left."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def one_thread():
    with single_thread():
        yield


@pytest.fixture(scope="session")
def trunk():
    """MobileNetV2 with random weights, and the statistics that its layers have on noise."""
    with single_thread():
        return noisy_trunk()


def noisy_trunk():
    torch.manual_seed(3)
    network = torchvision.models.mobilenet_v2(weights=None).train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(4, 3, 128, 128))
    return network.state_dict()


@pytest.fixture(scope="session")
def start(trunk, tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "start.pth"
    model = starting_model(trunk, 0)
    options = {"ratios": DEFAULT_RATIOS, "scales": DEFAULT_SCALES, "class_names": ["tree"]}
    save_checkpoint(path, model, **options)
    return path


@pytest.fixture(scope="session")
def rotated_start(trunk, tmp_path_factory):
    path = tmp_path_factory.mktemp("rotated") / "start.pth"
    model = starting_model(trunk, 0, classes=len(NAMES), anchors=27, values=6)
    third = 2 ** (1 / 3)
    options = {
        "ratios": (1.0, 3.5, 1 / 3.5),
        "scales": (2.5, 2.5 * third, 2.5 * third**2),
        "angles": (-math.pi / 6, 0.0, math.pi / 6),
        "class_names": NAMES,
    }
    save_checkpoint(path, model, **options)
    return path
