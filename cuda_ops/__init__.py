"""CUDA kernels of the GPU path; `odtk_ray.ops` defines what they compute."""
