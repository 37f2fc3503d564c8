"""The losses against torchvision and against numbers by hand."""

import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss
from training.losses import box_loss, focal_loss, losses
from training.targets import BACKGROUND, IGNORED


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("shape", [(0,), (1,), (4, 50), (2, 3, 7)])
def test_focal_loss_is_torchvisions(shape, classes):
    generator = torch.Generator().manual_seed(len(shape))
    logits = 3 * torch.randn(*shape, classes, generator=generator)
    labels = torch.randint(BACKGROUND, classes, shape, generator=generator)
    targets = torch.nn.functional.one_hot(labels + 1, classes + 1)[..., 1:].float()
    theirs = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2, reduction="sum")
    assert torch.allclose(focal_loss(logits, labels), theirs)


def test_focal_loss_by_hand_and_without_what_does_not_count():
    # p = 1/2 everywhere: the own class 1/4 * 1/4 * log 2, any other 3/4 * 1/4 * log 2.
    logits = torch.zeros(4, 2)
    labels = torch.tensor([1, BACKGROUND, BACKGROUND, IGNORED])
    expected = (1 / 16 + 5 * 3 / 16) * math.log(2)
    assert focal_loss(logits, labels).item() == pytest.approx(expected)


def test_focal_loss_is_finite_for_sure_and_wrong():
    logits = torch.tensor([[100.0], [-100.0]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([BACKGROUND, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.75 * 100 + 0.25 * 100)
    assert logits.grad.isfinite().all()


def test_ignored_anchors_have_no_gradient():
    logits = torch.tensor([[0.3], [0.3]], requires_grad=True)
    focal_loss(logits, torch.tensor([BACKGROUND, IGNORED])).backward()
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
    labels = torch.tensor([2, BACKGROUND, IGNORED])
    assert box_loss(deltas, wanted, labels).item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("foreground", [0, 1, 3])
def test_losses_are_means_over_the_foreground_of_the_batch(foreground):
    labels = torch.full((2, 5), BACKGROUND)
    labels.view(-1)[:foreground] = 0
    labels[1, 4] = IGNORED
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    deltas, wanted = torch.full((2, 5, 4), 1.0), torch.zeros(2, 5, 4)
    focal, box = losses(logits, deltas, labels, wanted)
    count = max(1, foreground)
    assert focal.item() == pytest.approx(focal_loss(logits, labels).item() / count)
    assert box.item() == pytest.approx(foreground * 4 * (1 - 0.055) / count)
