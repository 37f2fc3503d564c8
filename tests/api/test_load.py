"""`odtk_ray.load`: the detections of a run, in this process, of whatever holds a picture."""

from __future__ import annotations

import doctest
import inspect
import io
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest
from blocked_packages import Blocking
from effort import long_case
from PIL import Image
from synthetic import picture

import odtk_ray
from odtk_ray import api
from odtk_ray.api import evaluation, loading
from odtk_ray.assets.demo_files import write_demo
from odtk_ray.config import InferConfig
from odtk_ray.options import options_of

SMALL = {"resize": 64, "threads": 1}


@pytest.fixture(scope="module")
def tiny(ranked):
    with odtk_ray.load(str(ranked), **SMALL) as detector:
        yield detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of three sizes, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, size in enumerate([(160, 120), (120, 160), (96, 96), (160, 120), (120, 160)]):
        picture(seed, *size).save(folder / f"{seed}.{'png' if seed % 2 else 'jpg'}")
    return folder


@pytest.fixture(scope="module")
def detecting(ranked, tmp_path_factory):
    path = tmp_path_factory.mktemp("detecting") / "model.onnx"
    odtk_ray.export(str(ranked), str(path), size=(64, 96), with_postprocess=True)
    return path


def files(folder):
    return sorted(map(str, folder.iterdir()))


def rows(table):
    return table.drop_columns([n for n in ("image_id", "file_name") if n in table.column_names])


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("ranked", 1),
        ("ranked", 3),
        ("ranked_rotated", 3),
        ("graph", 3),
        ("detecting", 1),
        *(long_case(*case) for case in (("ranked_rotated", 1), ("graph", 1), ("detecting", 3))),
    ],
)
def test_detections_are_those_of_a_run(name, batch, request, folder, tmp_path):
    model = str(request.getfixturevalue(name))
    small = {} if name in ("graph", "detecting") else {"resize": 64}
    output = str(tmp_path / "found.parquet")
    odtk_ray.infer(model, images=str(folder), output=[output], local=True, batch=batch,
                   threads_per_worker=1, **small)  # fmt: skip
    run = pq.read_table(output)
    with odtk_ray.load(model, batch=batch, threads=1, **small) as detector:
        several = detector(files(folder))
        assert detector.batch == batch
    assert len(run) > 20
    for place, found in enumerate(several):
        mine = run.filter(np.array(run["image_id"]) == place)
        assert rows(mine).equals(found.to_arrow())
        assert len(found) == len(mine)


def equal(a, b):
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("bbox", "scores", "classes"))


def test_a_file_a_picture_and_an_array_give_the_same(tiny, folder):
    for path in files(folder):
        opened = Image.open(path)
        pixels = np.asarray(Image.open(path))
        upside = pixels[::-1].copy()[::-1]  # the same picture, with negative strides
        found, *others = tiny([path, opened, pixels, upside, Image.fromarray(pixels)])
        assert len(found) > 0
        assert all(equal(found, other) for other in others)
        assert equal(found, tiny(opened))


def test_one_opened_picture_may_be_in_a_list_often(folder, ranked):
    with odtk_ray.load(str(ranked), resize=64, threads=4) as detector:
        opened = Image.open(files(folder)[0])
        found = detector([opened] * 24)
    assert all(equal(found[0], other) for other in found)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_pictures_of_other_modes_are_as_their_files(tiny, folder, tmp_path, mode):
    path = tmp_path / ("p.tif" if mode == "CMYK" else "p.png")
    made = Image.open(files(folder)[0]).convert("RGB").convert(mode)
    if mode in ("L", "P"):
        made.info["transparency"] = 7
    made.save(path)
    opened = Image.open(path)
    before = opened.copy(), dict(opened.info)
    assert equal(tiny(path), tiny(opened))
    assert (opened.mode, opened.info) == (before[0].mode, before[1])


def test_exif_turns_pictures_where_it_is_asked_to(ranked, folder, tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(files(folder)[0]).save(path, exif=exif)
    with odtk_ray.load(str(ranked), exif="apply", **SMALL) as detector:
        a, b = detector([path, Image.open(path)])
    assert (a.width, a.height) == (120, 160)
    assert equal(a, b)
    assert a.draw().size == (120, 160)


def test_a_bad_picture_alone_and_in_a_list(tiny, folder, tmp_path):
    good, bad, none = files(folder)[0], tmp_path / "bad.jpg", str(tmp_path / "none.jpg")
    bad.write_bytes(b"no picture")
    cut = tmp_path / "cut.png"
    cut.write_bytes((folder / "1.png").read_bytes()[:900])
    with pytest.raises(odtk_ray.OdtkError, match=r"^cannot detect in .*bad.jpg: .*image"):
        tiny(bad)
    with pytest.raises(odtk_ray.OdtkError, match=r"none\.jpg: cannot be read: No such file"):
        tiny([good, none, bad])
    given = [good, none, Image.open(cut), good, Image.new("I;16", (90, 60)), str(tmp_path)]
    found = tiny(given, return_errors=True)
    assert equal(found[0], found[3])
    said = [str(found[i]) for i in (1, 2, 4, 5)]
    assert all(isinstance(found[i], odtk_ray.OdtkError) for i in (1, 2, 4, 5))
    assert "picture 2 of the list: the picture cannot be decoded" in said[1]
    assert "picture 4 of the list: pictures of mode I;16 are not supported" in said[2]
    assert "Is a directory" in said[3]
    assert tiny([]) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((3, 60, 80), np.uint8), r"this one is uint8 \[3, 60, 80\]\n  hint: channels fi"),
        (np.zeros((60, 80), np.uint8), r"uint8 \[60, 80\]\n  hint: gray"),
        (np.zeros((60, 80, 4), np.uint8), "hint: with transparency"),
        (np.zeros((2, 60, 80, 3), np.uint8), "hint: several pictures are given as a list"),
        (np.zeros((60, 80, 3)), r"float64 \[60, 80, 3\]\n  hint: of values in 0..1"),
        (np.zeros((60, 80, 3), np.int64), r"int64 \[60, 80, 3\]$"),
        (np.zeros((0, 80, 3), np.uint8), r"uint8 \[0, 80, 3\]$"),
        (17, "cannot detect in the picture, a int"),
        (b"...", "cannot detect in the picture, a bytes"),
        (["a.jpg", None], "cannot detect in picture 1 of the list, a NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(tiny, given, words):
    with pytest.raises(odtk_ray.UsageError, match=words):
        tiny(given)


def test_pictures_beyond_max_pixels_fail(ranked):
    with odtk_ray.load(str(ranked), max_pixels=100, **SMALL) as detector:
        for given in (np.zeros((11, 10, 3), np.uint8), Image.new("L", (10, 11))):
            with pytest.raises(odtk_ray.OdtkError, match="too large: 10x11 is more than the limit"):
                detector(given)


def test_threads_may_share_a_detector(tiny, folder):
    alone = {path: tiny(path) for path in files(folder)}
    with ThreadPoolExecutor(4) as pool:
        for path, found in zip(8 * files(folder), pool.map(tiny, 8 * files(folder)), strict=True):
            assert equal(found, alone[path])


def test_a_closed_detector_says_so(ranked, folder):
    detector = odtk_ray.load(str(ranked), **SMALL)
    detector.close()
    detector.close()
    assert repr(detector).endswith(", closed>")
    with pytest.raises(odtk_ray.OdtkError, match="the detector is closed"):
        detector(files(folder)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"device": "cuda"}, "device 'cuda' is unknown: it is one of auto, gpu, cpu"),
        ({"threshold": 2.0}, "--threshold 2.0 is out of range"),
        ({"batch": 10_000}, "--batch 10000 is too large"),
        ({"rotated_nms": "own"}, "--rotated-nms does not fit"),
    ],
)
def test_settings_are_refused(ranked, arguments, words):
    with pytest.raises(odtk_ray.UsageError, match=words):
        odtk_ray.load(str(ranked), **arguments)
    with pytest.raises(odtk_ray.UsageError, match=r"none\.pth"):
        odtk_ray.load("none.pth")


def test_a_gpu_that_is_not_there_is_said(ranked, monkeypatch):
    from odtk_ray.run import open_detector

    monkeypatch.setattr(open_detector, "list_gpus", lambda: ())
    with pytest.raises(odtk_ray.UsageError, match="there is no GPU here"):
        odtk_ray.load(str(ranked), device="gpu")


def test_boxes_in_other_forms(tiny, folder):
    found = tiny(files(folder)[0])
    x, y, width, height = found.bbox.T
    assert np.allclose(found.xyxy, np.stack([x, y, x + width, y + height], axis=1), atol=1e-9)
    table, frame = found.to_arrow(), found.to_pandas()
    assert table.column_names == "category_id category score x y width height".split()
    assert list(frame.columns) == table.column_names
    assert frame.score.to_numpy() == pytest.approx(found.scores)


def test_boxes_of_rotated_models_have_their_angles_and_corners(ranked_rotated, folder):
    with odtk_ray.load(str(ranked_rotated), **SMALL) as detector:
        found = detector(files(folder)[0])
    assert found.rotated
    assert found.to_arrow().column_names[-1] == "theta"
    inside = found.corners.min(axis=1) >= found.xyxy[:, :2] - 1e-9
    assert inside.all()
    assert found.draw(threshold=0).size == (160, 120)


@pytest.mark.parametrize("name", ["ranked", "ranked_rotated"])
def test_supervision_has_the_same_boxes(name, request, folder):
    supervision = pytest.importorskip("supervision")
    with odtk_ray.load(str(request.getfixturevalue(name)), **SMALL) as detector:
        found = detector(files(folder)[0])
        nothing = detector(np.zeros((60, 80, 3), np.uint8))
    theirs = found.to_supervision()
    assert isinstance(theirs, supervision.Detections)
    assert len(theirs) == len(found)
    assert theirs.xyxy == pytest.approx(found.xyxy, abs=1e-3)
    assert list(theirs["class_name"]) == [found.names[i] for i in found.classes]
    if not found.rotated:
        assert theirs.area == pytest.approx(found.bbox[:, 2] * found.bbox[:, 3], rel=1e-4)
    best = theirs[theirs.confidence > 0.5]
    assert len(best) == (found.scores > 0.5).sum()
    assert len(nothing.to_supervision()) == len(nothing)


def test_a_missing_package_is_one_sentence(tiny, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(odtk_ray.UsageError, match="this needs supervision") as refused:
        tiny(files(folder)[0]).to_supervision()
    assert refused.value.hint == "pip install supervision"


def test_pictures_are_drawn_as_a_run_draws_them(tiny, ranked, folder, tmp_path):
    output, drawn = [str(tmp_path / "found.json")], str(tmp_path / "drawn")
    odtk_ray.infer(str(ranked), images=str(folder), output=output, draw=drawn, resize=64,
                   local=True, batch=1, threads_per_worker=1)  # fmt: skip
    path = folder / "1.png"
    found = tiny(path)
    assert np.array_equal(found.draw(), Image.open(tmp_path / "drawn" / "1.png"))
    assert np.array_equal(found.draw(np.asarray(Image.open(path))), found.draw())
    assert Image.open(io.BytesIO(found._repr_jpeg_())).size == (found.width, found.height)
    large = tiny(Image.open(path).resize((2048, 512)))
    assert Image.open(io.BytesIO(large._repr_jpeg_())).size == (1024, 256)
    with pytest.raises(odtk_ray.UsageError, match="has 96x96 pixels: the detections are of"):
        found.draw(folder / "2.jpg")
    given = np.array(Image.open(path))
    before = given.copy()
    tiny(given).draw()
    assert np.array_equal(given, before)


def test_a_picture_that_went_away_cannot_be_drawn(tiny, folder, tmp_path):
    path = shutil.copy(folder / "1.png", tmp_path)
    found = tiny(path)
    (tmp_path / "1.png").unlink()
    with pytest.raises(odtk_ray.OdtkError, match=r"1.png: No such file"):
        found.draw()
    assert "detections in 120x160" in repr(found)


def test_an_exported_model_needs_neither_torch_nor_ray(detecting, folder, tmp_path):
    program = (
        "import sys, odtk_ray\n"
        "with odtk_ray.load(sys.argv[1], threads=1) as detector:\n"
        "    print(len(detector(sys.argv[2])))"
    )
    done = Blocking(tmp_path).python("-c", program, detecting, folder / "0.jpg")
    assert done.returncode == 0, done.stderr
    with odtk_ray.load(str(detecting), threads=1) as detector:
        assert int(done.stdout) == len(detector(folder / "0.jpg")) > 0


def test_arguments_that_infer_has_are_the_same_here():
    declared = options_of(InferConfig)
    text = " ".join(inspect.getdoc(api.load).split())
    signature = inspect.signature(api.load).parameters
    for name in signature.keys() - {"model", "device", "batch", "threads", "reporter"}:
        option = declared[name]
        assert signature[name].default == option.default
        assert eval(signature[name].annotation, loading.__dict__) == option.hint
        said = re.sub(r"--([a-z][a-z0-9-]*)", lambda f: f"`{f[1].replace('-', '_')}`",
                      option.option.help)  # fmt: skip
        assert f" {name}: {said}" in text
        assert not option.option.unset or f"{said} Default: {option.option.unset}." in text


def test_the_examples_of_the_docstrings_run(tmp_path, monkeypatch):
    """In this order: the second reads what the first writes."""
    write_demo(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for module in (api, evaluation, loading):
        results = doctest.testmod(module)
        assert results.failed == 0
        assert results.attempted >= 4
