"""The demonstration's data and model, made from tiny stand-ins for the two wheels."""

import hashlib
import io
import json
import zipfile

import pytest
import run as demo
import wheels
from PIL import Image
from pycocotools.coco import COCO

from odtk_ray.errors import OdtkError


def voc(*objects):
    rows = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    return f"<annotation><filename>x.tif</filename>{rows}</annotation>"


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def as_wheel(file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return wheels.Wheel("tiny-data", "1.0", file.name, digest)


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([], []),
        ([("Tree", 1, 1, 400, 300)], [[0, 0, 400, 300]]),  # the whole of a 400 x 300 picture
        ([("Tree", 5, 7, 5, 7)], [[4, 6, 1, 1]]),  # one pixel
        (
            [("Dead", 149, 105, 173, 129), ("Alive", 382, 4, 395, 20)],
            [[148, 104, 25, 25], [381, 3, 14, 17]],  # 173 - 149 + 1 = 25, 20 - 4 + 1 = 17
        ),
    ],
)
def test_voc_boxes(objects, expected):
    assert demo.voc_boxes(voc(*objects)) == expected


def test_coco_file_reads_sizes_from_the_pictures_and_numbers_everything(tmp_path):
    sizes = {"b.png": (40, 30), "a.png": (20, 10), "empty.png": (5, 6)}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(png(*size))
    annotations = {
        "b.png": voc(("Alive", 1, 1, 40, 30)),
        "a.png": voc(("Dead", 2, 3, 4, 8), ("Tree", 1, 1, 2, 2)),
        "empty.png": voc(),
    }
    path = tmp_path / "trees.json"
    path.write_text(json.dumps(demo.coco_file(tmp_path, annotations)), encoding="utf-8")
    coco = COCO(str(path))
    assert coco.loadCats(coco.getCatIds()) == [{"id": 1, "name": "tree"}]
    images = {image["file_name"]: image for image in coco.loadImgs(coco.getImgIds())}
    assert {name: (i["width"], i["height"]) for name, i in images.items()} == sizes
    found = {
        name: [
            (a["category_id"], a["bbox"], a["area"], a["iscrowd"])
            for a in coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        ]
        for name, image in images.items()
    }
    assert found == {
        "a.png": [(1, [1, 2, 3, 6], 18, 0), (1, [0, 0, 2, 2], 4, 0)],
        "b.png": [(1, [0, 0, 40, 30], 1200, 0)],
        "empty.png": [],
    }
    assert len(set(coco.getAnnIds())) == 3


@pytest.fixture
def photographs(tmp_path):
    path = tmp_path / "photographs.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for i, stem in enumerate(demo.STEMS, start=1):
            archive.writestr(f"{demo.PHOTOGRAPH_FOLDER}/{stem}.png", png(10 * i, 8))
            archive.writestr(f"{demo.PHOTOGRAPH_FOLDER}/{stem}.xml", voc(("Tree", 1, 2, i, 8)))
    return path


def test_prepare_fills_the_folder_and_can_run_again(tmp_path, photographs, monkeypatch):
    monkeypatch.setattr(demo, "PHOTOGRAPHS", as_wheel(photographs))
    folder = tmp_path / "demo"
    (folder / "wheels").mkdir(parents=True)
    wheel = photographs.rename(folder / "wheels" / photographs.name)
    contents = []
    for _ in range(2):
        demo.prepare(folder)
        files = [path for path in folder.rglob("*") if path.is_file() and path != wheel]
        contents.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})
    photos = [f"photos/{stem}.png" for stem in demo.STEMS]
    tiles = [f"tiles/{stem}_0000_0000.png" for stem in demo.STEMS]
    assert sorted(contents[0]) == sorted([*photos, *tiles, "tiles.json", "trees.json"])
    assert contents[0] == contents[1]
    truth = json.loads(contents[0]["trees.json"])
    assert [image["width"] for image in truth["images"]] == [10, 20, 30, 40]
    assert [a["bbox"] for a in truth["annotations"]] == [[0, 1, i, 7] for i in range(1, 5)]


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index without network: one folder with one tiny wheel, and pip told of no other."""
    folder = tmp_path / "index"
    folder.mkdir()
    file = folder / "tiny_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        info = "tiny_data-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\nRequires-Python: <3\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return file


def test_fetch_takes_what_is_there_and_replaces_what_is_damaged(tmp_path, index):
    wheel, folder = as_wheel(index), tmp_path / "wheels"
    folder.mkdir()
    whole = index.read_bytes()
    (folder / wheel.file).write_bytes(whole[:100])
    assert wheels.fetch(wheel, folder).read_bytes() == whole
    index.unlink()
    assert wheels.fetch(wheel, folder).read_bytes() == whole


def test_fetch_refuses_another_file(tmp_path, index):
    wheel = wheels.Wheel("tiny-data", "1.0", index.name, "0" * 64)
    with pytest.raises(OdtkError, match="SHA-256"):
        wheels.fetch(wheel, tmp_path / "wheels")


def test_without_an_index_the_script_says_so(tmp_path, index, monkeypatch, capsys):
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    assert demo.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot fetch deepforest==2.1.0 from the package index")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("length", "expected"),
    [(10, [0]), (400, [0]), (401, [0, 1]), (800, [0, 400]), (1000, [0, 400, 600])],
)
def test_tiles_cover_a_side(length, expected):
    assert demo._starts(length) == expected


def test_tiles_carry_their_boxes(tmp_path):
    (tmp_path / "photos").mkdir()
    for stem in demo.STEMS:
        (tmp_path / "photos" / f"{stem}.png").write_bytes(png(500, 400))
    boxes = {f"{stem}.png": voc(("Tree", 451, 11, 470, 40)) for stem in demo.STEMS}
    whole = demo.coco_file(tmp_path / "photos", boxes)
    (tmp_path / "trees.json").write_text(json.dumps(whole), encoding="utf-8")
    tiles = demo.cut_tiles(tmp_path / "trees.json", tmp_path / "photos", tmp_path / "tiles")
    assert len(tiles["images"]) == 8  # two of each photograph
    # x 451 to 470 counted from 1 is 450 and 20 wide; the second tile begins at 100.
    assert [a["bbox"] for a in tiles["annotations"]] == [[350, 10, 20, 30]] * 4
    assert [a["image_id"] for a in tiles["annotations"]] == [2, 4, 6, 8]
