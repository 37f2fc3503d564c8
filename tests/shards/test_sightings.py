"""Odd pictures of many shards become one remark each, whatever the order of the shards."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict

import numpy as np
from synthetic import make_records

from odtk_ray.records import PLAIN, Detections, ImageResult, Traits
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.shards.sightings import sightings, summarise

NOTHING = Detections(np.empty(0, np.float32), np.empty((0, 4), np.float32), np.empty(0, np.int32))


def result(size, traits=PLAIN):
    return ImageResult(None, *size, NOTHING, traits=traits)


RESULTS = [
    result((200, 180)),
    result((200, 180), Traits(orientation=3)),  # the sides do not show it
    result((200, 180), Traits(orientation=6)),  # the file has those of the turned picture
    result((100, 90)),
    result((200, 180), Traits(peak=4095)),
    result((200, 180), Traits(peak=4096)),
    result((200, 180), Traits(peak=0)),  # black, and nothing to say
    ImageResult.failed("broken"),
    result((180, 200)),
    result((50, 50)),  # of a size that was not known before
]
STATED = [(200, 180)] * 2 + [(180, 200)] + [(200, 180)] * 6 + [(0, 0)]


def shard(indices):
    rows = [(i, RESULTS[i]) for i in indices]
    seen = sightings(rows, dict(enumerate(STATED)))
    receipt = Receipt(0, "", "", len(rows), 0, 0, "test", sightings=seen)
    return Receipt(**json.loads(json.dumps(asdict(receipt)))).sightings  # as the journal has it


def test_what_is_said():
    records = make_records(range(10))
    expected = [
        "image has another size than the annotation file says: 2 images, the first is "
        '"000003.jpg" (200x180 in the annotation file, 100x90 in the image file)\n'
        "  hint: boxes are in pixels: give the pictures that were annotated, or correct the file",
        "image is to be turned by its EXIF orientation, which is ignored: 2 images, the first is "
        '"000001.jpg" (orientation 3)\n'
        "  hint: if it was annotated as viewers show it, use --exif apply; "
        "COCO's own images were not",
        "16-bit image has values of 12 bits or less: it comes out almost black (or white): "
        '1 image, the first is "000004.jpg" (largest value 4095 of 65535)\n'
        "  hint: scale its values to 16 bits",
    ]
    shards = [shard(indices) for indices in ([9, 8, 3], [0, 2, 1], [4, 5, 6, 7])]
    for order in itertools.permutations(shards):
        assert [str(finding) for finding in summarise(order, records)] == expected


def test_sides_that_a_turn_swaps_are_said_with_the_turn():
    rows = [(0, RESULTS[2])]
    (only,) = sightings(rows, {0: STATED[2]})
    detail = "orientation 6, width and height are swapped in the annotation file"
    assert only == ("EXIF", 1, 0, detail)
    assert sightings(rows, {0: (200, 180)}) == (("EXIF", 1, 0, "orientation 6"),)
