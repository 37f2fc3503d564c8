"""Runs code on a cluster: Ray session, nodes, workers, dispatching, tasks on nodes."""
