"""Reads EXIF orientations: how a picture has to be turned to stand upright."""

from __future__ import annotations

from PIL import ExifTags, Image


def exif_orientation(image: Image.Image) -> int:
    """Read the orientation of an opened picture, 1 (upright) to 8, that Pillow leaves to us.

    That of a TIFF belongs to the format, and Pillow always applies it.
    """
    return 1 if image.format == "TIFF" else any_orientation(image)


def any_orientation(image: Image.Image) -> int:
    """Read the orientation of an opened picture; 1 (upright) if it is missing or unreadable."""
    try:
        # The method of the base class: PNG's own decodes the whole picture first.
        return _checked(Image.Image.getexif(image).get(ExifTags.Base.Orientation))
    except Exception:  # whatever damaged bytes can lead to
        return 1


def block_orientation(block: bytes) -> int:
    """Read the orientation of a block of EXIF metadata; 1 if it is missing or unreadable."""
    exif = Image.Exif()
    try:
        exif.load(block)
        return _checked(exif.get(ExifTags.Base.Orientation))
    except Exception:  # whatever damaged bytes can lead to
        return 1


def _checked(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
