"""The demonstration's files in the package: they are what their README says, and fit together."""

import hashlib
import json
import re
from pathlib import Path

from PIL import Image
from pycocotools.coco import COCO

import odtk_ray.assets

ASSETS = Path(odtk_ray.assets.__file__).parent
ROWS = re.findall(
    r"^\| `(\S+)` \| ([\d,]+) \| `(\w{64})` \|$",
    (ASSETS / "README.md").read_text(encoding="utf-8"),
    re.M,
)


def test_readme_has_sizes_and_digests():
    said = {name: (int(size.replace(",", "")), digest) for name, size, digest in ROWS}
    data = {p.name: p.read_bytes() for p in ASSETS.iterdir() if p.is_file() and p.suffix != ".py"}
    del data["README.md"]
    assert said == {n: (len(c), hashlib.sha256(c).hexdigest()) for n, c in data.items()}


def test_photographs_are_small():
    sizes = [path.stat().st_size for path in ASSETS.glob("*.jpg")]
    assert len(sizes) == 2
    assert max(sizes) < 100_000
    assert sum(sizes) < 200_000


def test_annotations_are_those_of_the_photographs():
    coco = COCO(str(ASSETS / "trees.json"))
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(ASSETS / image["file_name"]) as photograph:
            assert photograph.size == (image["width"], image["height"]) == (400, 400)
            assert photograph.mode == "RGB"
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            x, y, width, height = entry["bbox"]
            assert 0 <= x < x + width <= 400
            assert 0 <= y < y + height <= 400
            assert entry["area"] == width * height
    count = {
        image["file_name"]: len(coco.getAnnIds(imgIds=image["id"]))
        for image in coco.loadImgs(coco.getImgIds())
    }
    # The numbers of `<object>` in the two XML files of DeepForest's wheel.
    assert count == {"OSBS_029.jpg": 61, "SOAP_061.jpg": 37}


def test_annotations_name_their_licences():
    document = json.loads((ASSETS / "trees.json").read_text(encoding="utf-8"))
    licences = {entry["id"]: entry["url"] for entry in document["licenses"]}
    assert {licences[image["license"]] for image in document["images"]} == {
        "https://creativecommons.org/publicdomain/zero/1.0/"
    }
    assert "NEON" in document["info"]["contributor"]
    assert "Copyright (c) 2019, Ben Weinstein" in (ASSETS / "README.md").read_text(encoding="utf-8")
