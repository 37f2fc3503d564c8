"""The Ray that tests share."""

from __future__ import annotations

import logging
import os
from pathlib import Path


def start_ray():
    """A Ray of this process, with room for four workers, whatever the machine."""
    import ray

    # Workers are nice by default, and starve where anything else is at work.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so it is spelled
    # Workers must find the engines that the tests bring.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=256 << 20,
    )
