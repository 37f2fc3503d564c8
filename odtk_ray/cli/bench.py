"""`odtk-ray bench`: how fast models are on this machine."""

from typing import Any

from odtk_ray.cli.command import Debug, command, values_of
from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.quiet import is_quiet, quiet_option
from odtk_ray.config import BenchConfig
from odtk_ray.errors import EXIT_FAILED, EXIT_OK


@command(
    "odtk-ray bench model.pth model.onnx --batch 1 8",
    "odtk-ray bench model.plan --launches 200 --output bench.json",
    settings=BenchConfig,
)
@quiet_option
def bench(*, debug: Debug = False, **flags: Any) -> None:
    """Measure how fast MODELs are on this machine, stage by stage, without Ray.

    Exit codes: 0 all are measured, 1 a model cannot run here, 2 wrong usage.
    """
    guarded(lambda: _bench(flags), debug, resumable=False)


def _bench(flags: dict[str, Any]) -> int:
    from odtk_ray.bench.bench_models import bench_models, write_bench
    from odtk_ray.cli.bench_table import print_bench
    from odtk_ray.cli.colours import echo
    from odtk_ray.cli.screen import Console

    config = BenchConfig(**values_of(BenchConfig, flags))
    with Console(quiet=is_quiet()) as console:
        measured = bench_models(config, console)
    print_bench(measured)
    if config.output is not None:
        write_bench(measured, config.output)
        if not is_quiet():
            echo(f"wrote {config.output}")
    return EXIT_FAILED if any(row.error for row in measured.rows) else EXIT_OK
