"""Where code runs: Ray session, nodes, workers, dispatching, tasks on nodes."""
