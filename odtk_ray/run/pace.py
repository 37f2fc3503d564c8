"""How fast a run's workers were, which its metrics file keeps; a later run's time follows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.settings import Device, RunSettings
from odtk_ray.typed_json import Count, Range, parse_json, typed
from odtk_ray.worker.fleet import Fleet

_LARGEST = 64 << 20  # bytes; a larger file is no metrics file

# Settings that speed depends on, as people call them.
_DECISIVE = {
    "model": "the model",
    "preprocessing": "the network input",
    "full_precision": "the precision",
    "threads": "the number of threads",
    "launch_batch": "the launch batch",
    "kernels": "the kernels",
    "decoder": "the decoder",
}


@dataclass(frozen=True)
class Pace:
    """The speed of all workers of a run together.

    Attributes:
        images_per_second: from the published plan to the last shard, the loading of the model
            included.
        workers: how many there were.
        device: what each computed on.
        threads: CPU threads of each.
    """

    images_per_second: Annotated[float, Range(above=0)]
    workers: Count
    device: Device
    threads: Count

    @classmethod
    def measured(cls, images: int, seconds: float, fleet: Fleet) -> Pace | None:
        """Return the pace of a fleet that detected in some images; None where there were none."""
        if not images or seconds <= 0:
            return None
        return cls(round(images / seconds, 3), fleet.workers, fleet.device, fleet.threads)

    def seconds(self, images: int, fleet: Fleet) -> float:
        """Estimate how long a fleet needs, if each of its workers is as fast as one of these."""
        return images / (self.images_per_second / self.workers * fleet.workers)


@dataclass(frozen=True)
class EarlierRun:
    """What a metrics file says of its run.

    Attributes:
        pace: of its workers.
        settings: of its plan, as JSON, of any version.
    """

    pace: Pace
    settings: dict[str, Any]

    def differences(self, settings: RunSettings) -> list[str]:
        """Name what speed depends on and is another here, such as `the model`."""
        now = json.loads(json.dumps(settings.to_json()))
        return [text for key, text in _DECISIVE.items() if self.settings.get(key) != now[key]]


def read_earlier_run(path: str) -> EarlierRun:
    """Read the pace and the settings in a metrics file.

    Raises:
        UsageError: it cannot be read, is no metrics file, or has no pace.
    """
    hint = "give the NAME.metrics.json of a run with --annotations"
    try:
        with storage.open_input(path) as stream:
            document: dict[str, Any] = typed(parse_json(stream.read(_LARGEST)), dict[str, Any])
        if "pace" in document and document["pace"] is None:
            raise UsageError(f"--pace {path} has no pace", "its run had no image left to do", hint)
        pace = typed(document.get("pace"), Pace, "pace")
        return EarlierRun(pace, typed(document.get("settings"), dict[str, Any], "settings"))
    except OSError as error:
        raise UsageError(f"cannot read --pace {path}", error.strerror or str(error)) from error
    except ValueError as error:
        raise UsageError(f"--pace {path} is no metrics file", str(error), hint) from error
