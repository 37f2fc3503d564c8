"""The figures of a finished run."""

from __future__ import annotations

from dataclasses import dataclass

from odtk_ray.evaluation.score_run import Scores
from odtk_ray.run.update_run import UpdateCounts
from odtk_ray.worker.fleet import Fleet


@dataclass(frozen=True)
class Summary:
    """The figures of a finished run.

    Attributes:
        images: planned images.
        detections: detections in the outputs.
        failed: images that could not be processed.
        detected: images processed by this run, the others by the one that it resumed.
        seconds: duration of detection, from the published plan to the last shard.
        fleet: the workers that it ran on.
        files: the files that were written.
        scores: figures against the ground truth; None without ground truth.
        update: how its images are to those of the run that it updated, if it did.
    """

    images: int
    detections: int
    failed: int
    detected: int
    seconds: float
    fleet: Fleet
    files: list[str]
    scores: Scores | None
    update: UpdateCounts | None = None

    def counts(self) -> dict[str, int]:
        """Return the counts that a program wants."""
        names = ("images", "detected", "detections", "failed")
        return {name: getattr(self, name) for name in names}
