"""Writes entries of a model repository, from which NVIDIA's Triton Inference Server serves."""
