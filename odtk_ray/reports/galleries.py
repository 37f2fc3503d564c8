"""The pictures of a report with their boxes, within the bytes that a report may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from odtk_ray.reports.content import Content, Ints
from odtk_ray.reports.picture_boxes import Box, PictureBoxes
from odtk_ray.reports.thumbnails import Thumbnail, make_thumbnails

LARGEST = 20_000_000  # bytes of a report

# Width by height of the cards of a gallery, by the name of their class in the style sheet.
_SHAPES = {"tall": 3 / 4, "square": 1.0, "wide": 4 / 3, "wider": 3 / 2, "widest": 16 / 9}


@dataclass(frozen=True)
class Card:
    """A picture with its boxes.

    Attributes:
        name: of the image.
        width: in pixels.
        height: likewise.
        uri: data URI of the picture; empty without one.
        boxes: drawn over it.
    """

    name: str
    width: int
    height: int
    uri: str
    boxes: Sequence[Box]

    def count(self, kind: str) -> int:
        """Count the boxes of a kind that are shown at first."""
        return sum(box.shown for box in self.boxes if box.kind == kind)


@dataclass(frozen=True)
class Gallery:
    """Some pictures under a heading.

    Attributes:
        title: the heading.
        cards: the pictures.
    """

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Galleries:
    """All pictures of a report.

    Attributes:
        groups: those that are not empty.
        shape: of their cards, a class of the style sheet.
        images: how many there are.
        pictures: how many of them could be read.
    """

    groups: Sequence[Gallery]
    shape: str
    images: int
    pictures: int


def fill_report(
    content: Content, groups: Sequence[tuple[str, Ints]], render: Callable[[Galleries], bytes]
) -> bytes:
    """Render a report with pictures that fit into what the rest of it leaves of 20 MB.

    Args:
        content: of the report.
        groups: headings, and the images under each.
        render: makes the page.
    """
    images = np.concatenate([images for _, images in groups])
    found = PictureBoxes(content.truth, content.detectors, images)
    boxes = [found.of_image(image) for image in images.tolist()]
    nothing: list[Thumbnail | None] = [None] * len(images)
    bare = render(_galleries(content, groups, boxes, nothing))
    path = content.pictures.path
    if path is None:
        return bare
    paths = [path(image) for image in images.tolist()]
    small = make_thumbnails(paths, content.pictures.prep, LARGEST - len(bare))
    return render(_galleries(content, groups, boxes, small))


def _galleries(
    content: Content,
    groups: Sequence[tuple[str, Ints]],
    boxes: Sequence[list[Box]],
    thumbnails: Sequence[Thumbnail | None],
) -> Galleries:
    filled: list[Gallery] = []
    cards: list[Card] = []
    for title, images in groups:
        start = len(cards)
        for image in images.tolist():
            place = len(cards)
            cards.append(_card(content, image, boxes[place], thumbnails[place]))
        if len(images):
            filled.append(Gallery(title, cards[start:]))
    return Galleries(filled, _shape(cards), len(cards), sum(bool(card.uri) for card in cards))


def _card(content: Content, image: int, boxes: list[Box], small: Thumbnail | None) -> Card:
    height, width = content.pictures.sizes[image].tolist()
    if small is not None:
        width, height = small.width, small.height
    uri = small.uri if small else ""
    return Card(content.pictures.names[image], max(width, 1), max(height, 1), uri, boxes)


def _shape(cards: Sequence[Card]) -> str:
    """Choose the shape that is nearest to that of most pictures."""
    middle = float(np.median([card.width / card.height for card in cards] or [1.0]))
    return min(_SHAPES, key=lambda name: abs(np.log(_SHAPES[name] / middle)))
