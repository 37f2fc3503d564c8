"""`odtk-ray evaluate`: figures of a file of detections."""

from typing import Any

from odtk_ray.cli.command import Debug, command, values_of
from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.quiet import is_quiet, quiet_option
from odtk_ray.config import EvaluateConfig
from odtk_ray.errors import EXIT_OK


@command(
    "odtk-ray evaluate detections.json --annotations truth.json",
    "odtk-ray evaluate found.csv --annotations truth.json --precision 0.9",
    settings=EvaluateConfig,
)
@quiet_option
def evaluate(*, debug: Debug = False, **flags: Any) -> None:
    """Evaluate a file of DETECTIONS, of this program or another one, against ground truth."""
    guarded(lambda: _evaluate(flags), debug, resumable=False)


def _evaluate(flags: dict[str, Any]) -> int:
    from odtk_ray import api
    from odtk_ray.cli.colours import echo
    from odtk_ray.cli.screen import Console, print_analysis

    with Console(quiet=is_quiet()) as console:
        evaluation = api.evaluate(**values_of(EvaluateConfig, flags), reporter=console)
    print_analysis(evaluation.analysis)
    written = [path for path in (flags["output"], flags["thresholds"], flags["report"]) if path]
    if written and not is_quiet():
        echo(f"wrote {', '.join(written)}")
    return EXIT_OK
