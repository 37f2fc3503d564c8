"""Finds the images that crash a worker.

After a crash every shard that the worker held is a suspect and runs again alone. The images of a
shard that crashes twice alone are probed one by one. Images that crash twice are recorded as
failed, and the others are detected one after the other, because some crash only together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from odtk_ray.dispatch.tasks import Task
from odtk_ray.errors import OdtkError

RESUME = "finished shards are kept; continue with --resume once the cause is gone"

_CRASHES_ALONE = 2


class Suspects:
    """The queue of tasks that run alone, and the results of the probes.

    Args:
        rows: record indices of each shard, in processing order.
    """

    def __init__(self, rows: Mapping[int, NDArray[np.int64]]) -> None:
        self.queue: deque[Task] = deque()
        self._rows = rows
        self._probing: dict[int, tuple[Task, int]] = {}  # shard -> its task, probes to come

    def crashed(self, task: Task) -> None:
        """Process a task whose worker died or hung.

        Raises:
            OdtkError: a shard crashes its worker although each of its images alone does not.
        """
        if task.alone:
            task.crashes += 1
        task.alone = True
        if task.crashes < _CRASHES_ALONE:
            self.queue.append(task)
        elif task.row is not None:
            self.probed(task, crashed=True)
        else:
            self._isolate(task)

    def lost(self, task: Task) -> None:
        """Process a task whose worker was lost for a reason that is not its fault."""
        self.queue.appendleft(task)

    def _isolate(self, task: Task) -> None:
        """Queue a probe of each image; the shard itself runs again after the last one."""
        if task.singly:
            raise OdtkError(
                f"shard {task.shard} crashes its worker",
                "although none of its images does when it runs alone",
                RESUME,
            )
        task.singly = True
        self._probing[task.shard] = (task, task.images)
        self.queue.extend(Task(task.shard, 1, row, alone=True) for row in range(task.images))

    def probed(self, probe: Task, *, crashed: bool) -> None:
        """Process the result of a probe; after the last one its shard runs again."""
        task, left = self._probing[probe.shard]
        if crashed and probe.row is not None:
            task.skip.add(int(self._rows[probe.shard][probe.row]))
        self._probing[probe.shard] = (task, left - 1)
        if left == 1:
            del self._probing[probe.shard]
            task.crashes = 0
            self.queue.append(task)
