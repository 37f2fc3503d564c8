"""Lists the images that an export's flags name: calibration, check and hints share the lists."""

from __future__ import annotations

from odtk_ray.datasets.image_sources import find_images


class ImageLists:
    """Lists images on first use, and each folder, glob, list or URI only once."""

    def __init__(self) -> None:
        self._paths: dict[str, list[str]] = {}

    def paths(self, images: str) -> list[str]:
        """Return the paths that a flag names, as `find_images` sorts them; do not change the list.

        Raises:
            UsageError: nothing is there, or nothing in it is an image.
        """
        if images not in self._paths:
            self._paths[images] = find_images(images).records["path"].to_pylist()
        return self._paths[images]
