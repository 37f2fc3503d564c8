"""The pictures that models are measured with."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from odtk_ray.assets.demo_files import photographs


def write_pictures(folder: str, size: tuple[int, int], count: int) -> list[str]:
    """Write the demonstration's photographs as JPEGs of one size, turn by turn; return their paths.

    They have the size of the network input: nothing is gained or lost by scaling.

    Args:
        folder: where they go.
        size: height and width in pixels.
        count: number of files.
    """
    paths = []
    for i in range(count):
        source = photographs()[i % len(photographs())]
        path = str(Path(folder) / f"{i}.jpg")
        with Image.open(source) as image:
            image.convert("RGB").resize(size[::-1]).save(path, quality=90)
        paths.append(path)
    return paths
