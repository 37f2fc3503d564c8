"""The files of `odtk-ray demo` made from a stand-in for DeepForest's wheel."""

import io
import json
import zipfile

import numpy as np
import pytest
import run
import verb_files
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def voc(*boxes):
    rows = "".join(
        f"<object><name>Tree</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for x1, y1, x2, y2 in boxes
    )
    return f"<annotation>{rows}</annotation>"


@pytest.fixture
def wheel(tmp_path):
    """Gradients, each of its own color, with metadata; the boxes count from 1, as VOC does."""
    path = tmp_path / "photographs.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for i, stem in enumerate(run.STEMS):
            pixels = np.full((40, 50, 3), 60 * i, np.uint8)
            pixels[..., 0] = np.arange(50) * 4
            info = PngInfo()
            info.add_text("comment", "of the PNG")
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info, exif=Image.Exif())
            archive.writestr(f"{run.PHOTOGRAPH_FOLDER}/{stem}.png", buffer.getvalue())
            archive.writestr(f"{run.PHOTOGRAPH_FOLDER}/{stem}.xml", voc((1, 2, 10 * i, 8)))
    return path


def test_files_of_a_wheel(wheel, tmp_path):
    folder = tmp_path / "assets"
    folder.mkdir()
    verb_files.write_files(wheel, folder)
    names = [f"{stem}.jpg" for stem in verb_files.STEMS]
    assert sorted(p.name for p in folder.iterdir()) == sorted([*names, "trees.json"])
    for name, i in zip(names, (2, 3), strict=True):  # where they are in run.STEMS
        data = (folder / name).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            pixels = np.asarray(image).astype(int)
        expected = np.broadcast_to(np.arange(50) * 4, (40, 50))
        assert abs(pixels[..., 0] - expected).max() < 12
        assert abs(pixels[..., 1:] - 60 * i).max() < 12
        assert b"of the PNG" not in data
        assert b"Exif" not in data
    content = json.loads((folder / "trees.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == names
    # xmin 1, ymin 2, xmax 20 or 30, ymax 8, all inclusive: 20 or 30 wide, 7 high.
    assert [a["bbox"] for a in content["annotations"]] == [[0, 1, 20, 7], [0, 1, 30, 7]]


@pytest.mark.parametrize(
    "content",
    [{}, {"images": []}, {"info": {"a": "é\n"}, "images": [{"id": 1}, {"id": 2}], "licenses": [3]}],
)
def test_lines_are_json(content):
    text = verb_files.as_lines(content)
    assert json.loads(text) == content
    if content.get("images"):
        assert '{"id": 1},\n{"id": 2}\n' in text
