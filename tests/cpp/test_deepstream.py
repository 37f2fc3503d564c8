"""DeepStream's parser, compiled with a stand-in of its header and called as nvinfer calls it."""

from __future__ import annotations

import configparser
import subprocess

import numpy as np
import pytest
from fakes import ROOT

from odtk_ray.settings import MEAN

FOLDER = ROOT / "cuda_ops" / "deepstream"
STAND_IN = ROOT / "tests" / "cpp" / "deepstream"
WIDTH, HEIGHT = 160, 96


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    """The program that calls it; undefined behaviour and wrong addresses end it."""
    path = tmp_path_factory.mktemp("parser") / "call_parser"
    sources = [FOLDER / "nvdsparse_odtk.cpp", STAND_IN / "call_parser.cpp"]
    flags = ["-std=c++14", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    subprocess.run(["g++", *flags, "-I", STAND_IN, *sources, "-o", path], check=True)
    return path


def call(parser, scores, boxes, classes, *, number=3, threshold=0.0, names=None):
    """Exit code, objects [n, 6] and message: class, score, left, top, width, height."""
    text = ""
    for name, array in zip(names or ("boxes", "classes", "scores"), (boxes, classes, scores),
                           strict=True):  # fmt: skip
        values = " ".join(repr(value) for value in array.ravel().tolist())
        text += f"{name} {array.dtype} {array.size} {values}\n"
    command = [parser, str(WIDTH), str(HEIGHT), str(number), str(threshold)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    rows = [line.split() for line in done.stdout.splitlines()]
    return done.returncode, np.array(rows, np.float32).reshape(-1, 6), done.stderr


def tensors(rng, slots, used):
    scores = np.zeros(slots, np.float32)
    scores[:used] = np.sort(rng.uniform(0.05, 1, used).astype(np.float32))[::-1]
    low = rng.uniform(0, 80, (slots, 2)).astype(np.float32)
    boxes = np.concatenate([low, low + rng.uniform(0, 15, (slots, 2))], 1, dtype=np.float32)
    return scores, boxes, rng.integers(0, 3, slots, dtype=np.int32)


@pytest.mark.parametrize(("slots", "used"), [(1, 0), (1, 1), (100, 0), (100, 37), (100, 100)])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_used_slots_become_objects_with_inclusive_ends(parser, slots, used, threshold):
    scores, boxes, classes = tensors(np.random.default_rng(slots + used), slots, used)
    code, found, _ = call(parser, scores, boxes, classes, threshold=threshold)
    kept = (scores >= threshold) & (scores > 0)
    sizes = np.minimum(boxes[:, 2:] + 1, (WIDTH, HEIGHT)) - boxes[:, :2]
    expected = np.column_stack([classes, scores, boxes[:, :2], sizes])[kept]
    assert code == 0
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_objects_lie_in_the_picture_and_have_an_area(parser):
    boxes = np.array([[-3, -2, 4, 5], [150, 90, 200, 99], [9, 9, 3, 20]], np.float32)
    scores, classes = np.full(3, 0.5, np.float32), np.zeros(3, np.int32)
    code, found, _ = call(parser, scores, boxes, classes)
    assert code == 0
    assert found[:, 2:].tolist() == [[0, 0, 5, 6], [150, 90, 10, 6]]


@pytest.mark.parametrize(("change", "message"), [
    ({"names": ("boxes", "classes", "score_1")}, "the model has no output scores"),
    ({"number": 2}, "class 2 was found: set num-detected-classes"),
    ({"boxes": np.zeros((2, 6), np.float32)}, "rotated boxes"),
    ({"classes": np.zeros(2, np.float32)}, "the model has no output classes"),
])  # fmt: skip
def test_other_models_are_refused_in_one_sentence(parser, change, message):
    given = {"scores": np.array([0.9, 0.8], np.float32), "boxes": np.ones((2, 4), np.float32),
             "classes": np.array([0, 2], np.int32)}  # fmt: skip
    code, _, said = call(parser, **given | change)
    assert code == 1
    assert message in said
    assert said.count("\n") == 1


def test_the_configuration_makes_the_models_input():
    read = configparser.ConfigParser()
    read.read(FOLDER / "config_infer_odtk.txt", encoding="utf-8")
    settings = read["property"]
    assert float(settings["net-scale-factor"]) == pytest.approx(1 / 255, rel=1e-15)
    offsets = [float(value) / 255 for value in settings["offsets"].split(";")]
    assert offsets == pytest.approx(MEAN, rel=1e-12)
    code = (FOLDER / "nvdsparse_odtk.cpp").read_text("utf-8")
    assert f"{settings['parse-bbox-func-name']}(" in code
