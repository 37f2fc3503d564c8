"""`odtk-ray compare`: files of detections side by side."""

from typing import Any

from odtk_ray.cli.command import Debug, command, values_of
from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.quiet import is_quiet, quiet_option
from odtk_ray.config import CompareConfig
from odtk_ray.errors import EXIT_OK


@command(
    "odtk-ray compare fp32.json int8.json --annotations truth.json",
    "odtk-ray compare yesterday.json today.json",
    settings=CompareConfig,
)
@quiet_option
def compare(*, debug: Debug = False, **flags: Any) -> None:
    """Compare files of detections with the first of them.

    With --annotations: differences of AP with intervals by paired bootstrap, by class too, and the
    images that differ most. Without: how many detections match.
    """
    guarded(lambda: _compare(flags), debug, resumable=False)


def _compare(flags: dict[str, Any]) -> int:
    from odtk_ray import api
    from odtk_ray.cli.colours import echo
    from odtk_ray.cli.screen import Console, print_comparison

    with Console(quiet=is_quiet()) as console:
        comparison = api.compare(**values_of(CompareConfig, flags), reporter=console)
    print_comparison(comparison)
    written = [path for path in (flags["output"], flags["report"]) if path]
    if written and not is_quiet():
        echo(f"wrote {', '.join(written)}")
    return EXIT_OK
