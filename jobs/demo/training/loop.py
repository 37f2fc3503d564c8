"""Training, step by step, from and to ODTK's checkpoints.

A step learns from the pictures `iteration * batch + slot` of its source, so a run that continues
from a checkpoint sees what it would have seen, and no random state has to be kept. Every process
of a group takes its share of the slots.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from odtk_ray.artifacts.input_size import STRIDES
from odtk_ray.images.normalise import normalise
from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.model.pth import read_pth
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.settings import MEAN, STD
from training.batches import Batch, BatchSource
from training.losses import losses
from training.rotated_targets import match_rotated, turn_anchors
from training.targets import flatten_heads, match_upright, place_anchors


@dataclass(frozen=True)
class Recipe:
    """The settings that determine the result of a training.

    Attributes:
        iterations: steps in all.
        batch: pictures of a step, over all processes.
        rate: greatest learning rate.
        warmup: steps in which the rate rises from a tenth of that, in a straight line; it then
            falls to zero along half a cosine.
        momentum: of SGD.
        decay: weight decay.
        clip: greatest norm of the gradient.
        frozen: layers at the start of the trunk that stay as they are.
        trunk: learning rate of the trunk's other layers, as a share of `rate`.
        average: what stays, each step, of the running average of the weights, which is exported.
    """

    iterations: int = 6000
    batch: int = 16
    rate: float = 0.02
    warmup: int = 500
    momentum: float = 0.9
    decay: float = 1e-4
    clip: float = 3.0
    frozen: int = 4
    trunk: float = 1.0
    average: float = 0.998

    def factor(self, iteration: int) -> float:
        """Return the share of `rate` at a step."""
        if iteration < self.warmup:
            return 0.1 + 0.9 * iteration / self.warmup
        progress = (iteration - self.warmup) / max(1, self.iterations - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@dataclass(frozen=True)
class Step:
    """The result of one step.

    Attributes:
        iteration: steps done, this one included.
        focal: class loss of this process' pictures.
        box: box loss of this process' pictures.
        rate: learning rate of the step.
    """

    iteration: int
    focal: float
    box: float
    rate: float


class Trainer:
    """A network in training, in one process of a group.

    Batch normalisation keeps its statistics and its weights, as in ODTK.

    Args:
        path: a MobileNetV2FPN's checkpoint; one of `save` is continued, any other starts at
            iteration 0.
        source: of the pictures to learn from, for the same device.
        recipe: how.
        device: `cpu` or `cuda`; on the latter the network runs in FP16 and the loss is scaled.
        rank: number of this process.
        world: number of processes.
        wrap: makes the group's network of this process', such as DistributedDataParallel.

    Attributes:
        model: the network of this process.
        iteration: steps done.

    Raises:
        ValueError: the batch cannot be shared evenly.
        UsageError: the checkpoint cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        source: BatchSource,
        recipe: Recipe,
        *,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
        wrap: Callable[[nn.Module], nn.Module] = lambda network: network,
    ) -> None:
        if recipe.batch % world:
            raise ValueError(f"a batch of {recipe.batch} cannot be shared by {world} processes")
        self._recipe, self._source = recipe, source
        self._rank, self._world = rank, world
        self._device = torch.device(device)
        self._half = self._device.type == "cuda"
        columns = (torch.tensor(v, device=self._device).view(3, 1, 1) for v in (MEAN, STD))
        self._mean, self._std = columns
        self._checkpoint = load_checkpoint(path)
        self._anchors = self._place_anchors()
        self._match = match_rotated if self._checkpoint.rotated else match_upright
        self.model = self._checkpoint.build().to(self._device)
        if self._half:
            self.model.to(memory_format=torch.channels_last)
        trunk, rest = _trained(self.model, recipe.frozen)
        self._parameters = trunk + rest
        self._average = copy.deepcopy(self.model).requires_grad_(False)
        self._network = wrap(self.model)
        groups: list[dict[str, Any]] = [
            {"params": rest},
            {"params": trunk, "lr": recipe.rate * recipe.trunk},
        ]
        self._optimizer = torch.optim.SGD(
            groups,
            recipe.rate,
            recipe.momentum,
            weight_decay=recipe.decay,
        )
        self._scheduler = LambdaLR(self._optimizer, recipe.factor)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._half)
        self.iteration = 0
        self._resume(path)

    def _place_anchors(self) -> Tensor:
        """Return float32 [N, 4] of a picture; [N, 6] if boxes are rotated."""
        settings, side = self._checkpoint, self._source.side
        sizes = settings.ratios, settings.scales, settings.anchors
        levels = [generate_anchors(stride, *sizes, settings.angles) for stride in STRIDES]
        if settings.angles is not None:
            levels = [turn_anchors(level, settings.angles) for level in levels]
        return place_anchors(levels, STRIDES, side, side).to(self._device)

    def _resume(self, path: str | Path) -> None:
        content = read_pth(Path(path))
        if "optimizer" in content:
            self.iteration = content["iteration"]
            self._optimizer.load_state_dict(content["optimizer"])
            self._scheduler.load_state_dict(content["scheduler"])
            self._scaler.load_state_dict(content["scaler"])
            self._average.load_state_dict(content["average"])

    def save(self, path: str | Path) -> None:
        """Write a checkpoint from which a `Trainer` continues, in FP32, as ODTK's training."""
        state = {
            "iteration": self.iteration,
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.state_dict(),
        }
        self._save(path, self.model, extra=state)

    def export(self, path: str | Path) -> None:
        """Write what inference needs: averaged half-precision weights, nothing unused."""
        self._save(path, self._average, half=True, drop_unused=True)

    def _save(self, path: str | Path, model: RetinaNet, **options: Any) -> None:
        save_checkpoint(
            path,
            model,
            ratios=self._checkpoint.ratios,
            scales=self._checkpoint.scales,
            angles=self._checkpoint.angles,
            class_names=self._checkpoint.class_names,
            **options,
        )

    def steps(self) -> Iterator[Step]:
        """Train until the recipe's last iteration; the weights are changed at each step."""
        own = (
            picture_indices(iteration, self._recipe.batch, self._rank, self._world)
            for iteration in range(self.iteration, self._recipe.iterations)
        )
        yield from map(self._step, self._source.batches(own))

    def _step(self, batch: Batch) -> Step:
        labels, wanted = self._match(self._anchors, batch.boxes, batch.classes)
        with torch.autocast(self._device.type, torch.float16, enabled=self._half):
            logits, deltas = self._network(normalise(batch.pixels, self._mean, self._std))
        focal, box = losses(
            flatten_heads(logits, self.model.classes),
            flatten_heads(deltas, self.model.box_values),
            labels,
            wanted,
        )
        rate = float(self._scheduler.get_last_lr()[0])
        self._learn(focal + box)
        return Step(self.iteration, focal.item(), box.item(), rate)

    def _learn(self, loss: Tensor) -> None:
        """Change the weights by one step."""
        self._optimizer.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._scheduler.step()
        self.iteration += 1
        self._follow()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average; it starts with the weights of the first step."""
        share = 1.0 if self.iteration == 1 else 1 - self._recipe.average
        means: list[Tensor] = list(self._average.parameters())
        values: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(means, values, share)  # one launch instead of one a tensor


def picture_indices(iteration: int, batch: int, rank: int, world: int) -> range:
    """Return the pictures of one process in one step; all processes together make the batch."""
    return range(iteration * batch + rank, (iteration + 1) * batch, world)


def _trained(model: RetinaNet, frozen: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Mark the parameters that training changes; return those of the trunk, and the others."""
    model.requires_grad_(True)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.requires_grad_(False)
    trunk: list[nn.Parameter] = []
    for name in model.backbones:
        layers = model.get_submodule(f"backbones.{name}.features.features")
        for layer in list(layers.children())[:frozen]:
            layer.requires_grad_(False)
        trunk += [parameter for parameter in layers.parameters() if parameter.requires_grad]
    known = set(map(id, trunk))
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    return trunk, rest
