"""What `odtk-ray bench` is asked to do."""

from dataclasses import dataclass
from typing import Annotated, Literal

from odtk_ray.config.common import MAX_LAUNCH
from odtk_ray.options import Option, check_options
from odtk_ray.settings import MAX_SIDE

BenchPrecision = Literal["fp16", "fp32"]


# fmt: off
@dataclass(frozen=True)
class BenchConfig:
    """What `odtk-ray bench` is asked to do; its fields are the options."""

    models: Annotated[
        tuple[str, ...],
        Option("Arguments", "Checkpoints (.pth) and exported models (.onnx, .plan).", "MODEL..."),
    ]
    size: Annotated[
        tuple[int, int] | None,
        Option("Network input", "Height and width in pixels of the network input of checkpoints, "
               "multiples of 32.", "H [W]", "that of the first exported model, else 800 1280",
               minimum=1, maximum=MAX_SIDE),
    ] = None
    batch: Annotated[
        tuple[int, ...],
        Option("Workers", "Pictures at once.", "N", "1", minimum=1, maximum=MAX_LAUNCH,
               several=r"\d+"),
    ] = (1,)
    precision: Annotated[
        BenchPrecision | None,
        Option("Model", "Precision of the network, where it can be chosen: fp32 has checkpoints "
               "compute without FP16 and TF32 on GPUs, as CPUs always do.",
               unset="that of a run"),
    ] = None
    launches: Annotated[
        int,
        Option("Workers", "Launches that are timed.", "N", minimum=2, maximum=100_000),
    ] = 30
    output: Annotated[
        str | None, Option("Output", "JSON file to write the figures to.", "FILE")
    ] = None
    # fmt: on

    def __post_init__(self) -> None:
        check_options(self)
