"""Engine sets: one TensorRT plan per kind of GPU, built on the cluster's nodes."""
