"""What a program may give to be detected in: paths, pictures of Pillow's, arrays."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from odtk_ray.engines.protocol import Content
from odtk_ray.errors import ImageError, OdtkError, UsageError
from odtk_ray.images.decode_image import decode
from odtk_ray.images.image_file import read_image_file
from odtk_ray.images.opened_pictures import check_array, take_array, take_pillow
from odtk_ray.settings import Preprocessing
from odtk_ray.storage.retry import read_image

if TYPE_CHECKING:
    # A path or URI, a picture of Pillow's, or uint8 [height, width, 3], RGB.
    Picture: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class GivenPicture:
    """A picture as it was given; nothing of it is read before it is needed.

    Attributes:
        given: a path or URI, a picture of Pillow's, or an array.
        prep: how it is decoded.
        name: what messages call it.
    """

    given: Any
    prep: Preprocessing
    name: str

    def load(self) -> Content:
        """Read a file, or decode what was given; any thread may call this.

        Raises:
            ImageError: it cannot be used.
            OSError: the file cannot be read.
        """
        if isinstance(self.given, Image.Image):
            return take_pillow(self.given, self.prep)
        if isinstance(self.given, np.ndarray):
            return take_array(self.given, self.prep)
        read = functools.partial(read_image_file, prep=self.prep)
        return read_image(os.fspath(self.given), None, read)

    def decoded(self) -> Image.Image:
        """Return the picture in RGB, as it was detected in.

        Raises:
            OdtkError: it cannot be read, or decoded.
        """
        try:
            content = self.load()
            content = decode(content, self.prep) if isinstance(content, bytes) else content
        except (ImageError, OSError) as error:
            raise self.failed(str(getattr(error, "strerror", None) or error)) from error
        return Image.fromarray(content.pixels)

    def failed(self, why: str) -> OdtkError:
        """Return the error that says why nothing can be done with this picture."""
        return OdtkError(f"cannot detect in {self.name}", why)


def take(given: object, prep: Preprocessing, place: int | None = None) -> GivenPicture:
    """Check what was given as a picture.

    Args:
        given: what the program gave.
        prep: how it is decoded.
        place: in a list; None if it was given alone.

    Raises:
        UsageError: it is no picture.
    """
    name = "the picture" if place is None else f"picture {place} of the list"
    if isinstance(given, (str, os.PathLike)):
        return GivenPicture(given, prep, os.fspath(given))
    if isinstance(given, np.ndarray):
        check_array(given)
    elif not isinstance(given, Image.Image):
        raise UsageError(
            f"cannot detect in {name}, a {type(given).__name__}",
            hint="give a path, a picture of Pillow's, an array, or a list of those",
        )
    return GivenPicture(given, prep, name)
