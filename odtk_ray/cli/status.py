"""`odtk-ray status`: how far a run is."""

import time
from dataclasses import asdict
from datetime import timedelta
from json import dumps
from typing import TYPE_CHECKING, Annotated

from odtk_ray.cli.colours import echo, echo_own
from odtk_ray.cli.command import Debug, command
from odtk_ray.cli.guarded import guarded
from odtk_ray.errors import EXIT_OK
from odtk_ray.options import Option
from odtk_ray.plural import counted

if TYPE_CHECKING:
    from odtk_ray.shards.run_events import RunEvent
    from odtk_ray.shards.run_status import RunStatus

_EVENTS = 10  # shown


@command("odtk-ray status detections.json.run", "odtk-ray status s3://bucket/run --json")
def status(
    run_dir: Annotated[str, Option("Arguments", "Run folder, path or URI.", "RUN_DIR")],
    *,
    json: Annotated[bool, Option("Output", "Print one line of JSON, with all events.")] = False,
    debug: Debug = False,
) -> None:
    """Say how far a run is: done, failed, speed, time left, and its last events.

    Nothing is written: any machine that sees the folder may ask, also while the run goes on.

    Exit codes: 0 said, 1 the storage does not answer, 2 there is no run folder.
    """

    def show() -> int:
        from odtk_ray import api

        found = api.status(run_dir)
        if json:
            echo_own(dumps(asdict(found)))
        else:
            _print(found)
        return EXIT_OK

    guarded(show, debug, resumable=False)


def _print(found: "RunStatus") -> None:
    rows = [
        ("run", found.run),
        ("state", _state(found)),
        ("images", _images(found)),
        ("shards", f"{found.shards_done:,} of {found.shards:,}"),
        ("detections", f"{found.detections:,}"),
    ]
    if found.rate is not None:
        rows.append(("speed", f"{found.rate:,.1f} images/s when it last committed"))
    if found.seconds_left is not None:
        rows.append(("left", _duration(found.seconds_left)))
    rows.append(("drivers", f"{found.drivers:,}"))
    for name, text in rows:
        echo(f"{name:<10}  {text}")
    for event in found.events[-_EVENTS:]:
        echo(_line(event))


def _state(found: "RunStatus") -> str:
    """Return the state, with what is known about a driver that may be gone."""
    if found.state != "running" or found.last_sign is None:
        return found.state
    age = max(time.time() - found.last_sign, 0.0)
    return f"running, or killed: last sign of life {_duration(age)} ago"


def _images(found: "RunStatus") -> str:
    share = found.done / found.images
    done = f"{found.done:,} of {counted(found.images, 'image')} done ({share:.1%})"
    return f"{done}, {found.failed:,} failed"


def _line(event: "RunEvent") -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    hint = f" (hint: {event.hint})" if event.hint else ""
    return f"{when}  {event.kind:<8}  {event.text}{hint}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
