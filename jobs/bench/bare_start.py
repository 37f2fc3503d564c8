"""The least that any run on Ray needs: Ray, an actor, torch, weights on the device, one forward.

`startup.py` runs it beside `odtk-ray infer`, as the floor. It prints when it got how far, as JSON,
in seconds since 1970.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

import click


class Bare:
    """The actor: a network, and nothing around it."""

    def __init__(self, model: str) -> None:
        from odtk_ray.moments import process_start

        self._times = {"the actor's process is started": process_start()}
        self._note("the actor's code is loaded")
        import torch

        self._note("torch is imported")
        from odtk_ray.model.checkpoint import load_checkpoint

        self._gpu = torch.cuda.is_available()
        network = load_checkpoint(model).build().to(memory_format=torch.channels_last)
        self._network = network.half().cuda() if self._gpu else network
        if self._gpu:
            torch.cuda.synchronize()
        self._note("the weights are on the device")

    def _note(self, what: str) -> None:
        self._times[what] = time.time()

    def forward(self, batch: int, height: int, width: int) -> dict[str, float]:
        """Run the network on zeros; return when it got how far."""
        import torch

        network = self._network
        weight = next(network.parameters())
        with torch.inference_mode():
            heads = network(weight.new_zeros(batch, 3, height, width))
            for level in (level for head in heads for level in head):
                level.cpu()
        self._note("the results of one forward are on the host")
        return self._times


@click.command()
@click.argument("model")
@click.option("--gpu", is_flag=True)
@click.option("--batch", type=click.IntRange(1), required=True)
@click.option("--size", type=(int, int), required=True, help="Height and width of the input.")
def main(model: str, gpu: bool, batch: int, size: tuple[int, int]) -> None:
    """Start Ray and one actor with MODEL, an ODTK checkpoint, and run it once."""
    import ray

    times = {"ray is imported": time.time()}
    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    times["Ray is up"] = time.time()
    # Ray gives an actor as many of torch's threads as it reserves cores.
    cores = len(os.sched_getaffinity(0))
    bare: Any = ray.remote(num_gpus=int(gpu), num_cpus=cores)(Bare)
    actor = bare.remote(model)
    times |= ray.get(actor.forward.remote(batch, *size))
    print(json.dumps(times))


if __name__ == "__main__":
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    main()
