"""Writes CVAT's XML of annotated images.

Source: docs.cvat.ai, "CVAT for image 1.1": `box` with the corners of the un-turned box in pixels
and `rotation` in degrees, clockwise about its centre.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from odtk_ray import storage
from odtk_ray.datasets.image_boxes import ImageBoxes
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted

# XML 1.0 has no way to write these.
_IMPOSSIBLE = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_LABEL = """        <label>
          <name>{}</name>
          <attributes>
            <attribute>
              <name>score</name>
              <mutable>False</mutable>
              <input_type>text</input_type>
              <default_value></default_value>
              <values></values>
            </attribute>
          </attributes>
        </label>
"""


def write_cvat(target: str, images: Iterable[ImageBoxes], labels: Sequence[str]) -> str:
    """Write an `image` with its `box`es for each image; the score is an attribute.

    Args:
        target: file to write.
        images: the boxes by image.
        labels: names of the classes, which a task in CVAT must have.

    Returns:
        what was written, in words.

    Raises:
        UsageError: an image with boxes has no size, or a name cannot be written in XML.
        OSError: the file cannot be written.
    """
    number = found = 0
    with storage.writing(target) as part, open(part, "w", encoding="utf-8") as stream:
        stream.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        stream.write("  <version>1.1</version>\n  <meta>\n    <task>\n      <labels>\n")
        for label in labels:
            stream.write(_LABEL.format(escape(_checked(label))))
        stream.write("      </labels>\n    </task>\n  </meta>\n")
        for number, image in enumerate(images, 1):
            found += len(image.boxes)
            stream.write(_image(number - 1, image))
        stream.write("</annotations>\n")
    return f"wrote {target}: {counted(number, 'image')}, {counted(found, 'box', 'boxes')}"


def _image(number: int, image: ImageBoxes) -> str:
    size = ""
    if len(image.boxes):
        size = ' width="{}" height="{}"'.format(*image.size())
    head = f'  <image id="{number}" name={_quoted(image.name)}{size}>\n'
    return head + "".join(_boxes(image)) + "  </image>\n"


def _boxes(image: ImageBoxes) -> Iterable[str]:
    rows = zip(image.boxes.tolist(), image.labels, image.scores.tolist(), strict=True)
    for (x, y, width, height, theta), label, score in rows:
        degrees = math.degrees(theta) % 360
        rotation = f' rotation="{degrees:.4f}"' if degrees else ""
        box = (
            f'    <box label={_quoted(label)} source="auto" occluded="0" xtl="{x:.2f}" '
            f'ytl="{y:.2f}" xbr="{x + width:.2f}" ybr="{y + height:.2f}" z_order="0"{rotation}>'
        )
        if math.isnan(score):
            yield f"{box}</box>\n"
        else:
            yield f'{box}\n      <attribute name="score">{score:.6g}</attribute>\n    </box>\n'


def _quoted(text: str) -> str:
    return quoteattr(_checked(text))


def _checked(text: str) -> str:
    if _IMPOSSIBLE.search(text):
        raise UsageError(f"{text!a} cannot be written to CVAT", "XML cannot hold its characters")
    return text
