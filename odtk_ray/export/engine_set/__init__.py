"""Engine sets: a plan for each kind of GPU, built on the cluster's nodes."""
