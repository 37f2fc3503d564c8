"""A cluster in a process of its own, which ends with its standard input.

Prints its address and the process ids of its head as JSON.
"""

from __future__ import annotations

import json
import sys

from sessions import cluster_head

if __name__ == "__main__":
    with cluster_head() as head:
        started = head.head_node.all_processes
        ids = {kind: [each.process.pid for each in some] for kind, some in started.items()}
        print(json.dumps({"address": head.address, "processes": ids}), flush=True)
        sys.stdin.read()
