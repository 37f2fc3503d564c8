"""How fast launches of several sizes were, as a run's plan keeps it (`--batch auto`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from odtk_ray.typed_json import Count, Range


@dataclass(frozen=True)
class LaunchRate:
    """The speed of a worker with one launch batch.

    Attributes:
        launch: pictures in a launch.
        images_per_second: of network and post-processing alone.
        seconds: that the launches took that count.
        memory: share of the GPU's memory that is in use; 0 where that is not known.
    """

    launch: Count
    images_per_second: Annotated[float, Range(above=0)]
    seconds: Annotated[float, Range(0)]
    memory: Annotated[float, Range(0, 1)] = 0.0


@dataclass(frozen=True)
class MeasuredLaunches:
    """What was measured before a launch batch was chosen.

    Attributes:
        rates: by kind of worker, smallest launch first; the kind is empty where there is one only.
        shape: (height, width) in pixels of the network input.
        seconds: from the first call of a worker to the last answer.
    """

    rates: dict[str, tuple[LaunchRate, ...]]
    shape: tuple[Count, Count]
    seconds: Annotated[float, Range(0)]
