"""The unit of work that is handed out: a shard, or one image of a shard that crashes workers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Task:
    """A shard to detect in, or (with `row`) a probe of one of its images.

    Attributes:
        shard: the shard's number.
        images: number of images in it; 1 for a probe.
        row: position in the shard of the image to probe; None for the whole shard.
        alone: whether its worker may hold nothing else meanwhile, because it is a suspect.
        crashes: workers that died or hung while it ran alone.
        skip: record indices that are recorded as failed, because they crash their worker.
        singly: whether its images run one after the other, because together they crash.
    """

    shard: int
    images: int
    row: int | None = None
    alone: bool = False
    crashes: int = 0
    skip: set[int] = field(default_factory=set)
    singly: bool = False
