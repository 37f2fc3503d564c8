"""`python -m odtk_ray`, for clusters whose PATH lacks the console script."""

from odtk_ray.cli.process import main

if __name__ == "__main__":
    main()
