"""The losses against torchvision and against numbers by hand."""

import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from odtk_ray.training.losses import box_loss, focal_loss, losses
from odtk_ray.training.targets import IGNORED


@pytest.mark.parametrize("shape", [(0,), (1,), (4, 50), (2, 3, 7)])
def test_focal_loss_is_torchvisions(shape):
    generator = torch.Generator().manual_seed(len(shape))
    logits = 3 * torch.randn(shape, generator=generator)
    targets = torch.randint(0, 2, shape, generator=generator).float()
    theirs = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2, reduction="sum")
    assert torch.allclose(focal_loss(logits, targets), theirs)


def test_focal_loss_by_hand_and_without_what_does_not_count():
    # p = 1/2 everywhere: foreground 1/4 * 1/4 * log 2, background 3/4 * 1/4 * log 2.
    logits = torch.zeros(4)
    targets = torch.tensor([1.0, 0.0, 0.0, IGNORED])
    expected = (1 / 16 + 2 * 3 / 16) * math.log(2)
    assert focal_loss(logits, targets).item() == pytest.approx(expected)


def test_focal_loss_is_finite_for_sure_and_wrong():
    logits = torch.tensor([100.0, -100.0], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0.0, 1.0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.75 * 100 + 0.25 * 100)
    assert logits.grad.isfinite().all()


def test_ignored_anchors_have_no_gradient():
    logits = torch.tensor([0.3, 0.3], requires_grad=True)
    focal_loss(logits, torch.tensor([0.0, IGNORED])).backward()
    assert logits.grad[0] != 0
    assert logits.grad[1] == 0


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (0.0, 0.0),
        (0.055, 0.055**2 / (2 * 0.11)),  # square below beta
        (-0.11, 0.055),  # both formulas give beta / 2
        (1.0, 1 - 0.055),  # linear above
    ],
)
def test_box_loss_by_hand(difference, expected):
    wanted = torch.tensor([[0.1, 0.2, 0.3, 0.4], [9.0, 9.0, 9.0, 9.0], [9.0, 9.0, 9.0, 9.0]])
    deltas = torch.tensor([[0.1, 0.2, 0.3 + difference, 0.4], [0.0] * 4, [0.0] * 4])
    targets = torch.tensor([1.0, 0.0, IGNORED])
    assert box_loss(deltas, wanted, targets).item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("foreground", [0, 1, 3])
def test_losses_are_means_over_the_foreground_of_the_batch(foreground):
    targets = torch.zeros(2, 5)
    targets.view(-1)[:foreground] = 1
    targets[1, 4] = IGNORED
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    deltas, wanted = torch.full((2, 5, 4), 1.0), torch.zeros(2, 5, 4)
    focal, box = losses(logits, deltas, targets, wanted)
    count = max(1, foreground)
    assert focal.item() == pytest.approx(focal_loss(logits, targets).item() / count)
    assert box.item() == pytest.approx(foreground * 4 * (1 - 0.055) / count)
