"""odtk_infer, and the example, with stand-ins of CUDA and TensorRT.

The stand-in finds two things in every picture, see fake/fake_cuda.cpp. The formats of the outputs
and the pixels have tests of their own; here is what the program does with them.
"""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
from fakes import ROOT, VALGRIND, Programs
from PIL import Image

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.images.resize import network_size
from odtk_ray.settings import Preprocessing


@pytest.fixture
def pictures(tmp_path):
    """A folder with five pictures of several sizes, one of them no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number, (width, height) in enumerate([(64, 48), (300, 200), (50, 90), (128, 128)]):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        ending = "png" if number % 2 else "jpg"
        Image.fromarray(pixels).save(folder / f"{number}.{ending}")
    (folder / "2b.jpg").write_bytes(b"no picture")
    return folder


def expected_boxes(graph, path):
    """What the stand-in finds, scaled back as float32: for each box [x1, y1, x2, y2]."""
    with Image.open(path) as image:
        size = image.size
    width, height, ratio = network_size(*size, Preprocessing(fit=read_exported(graph).size))
    width, height = np.float32(width), np.float32(height)
    whole = [0, 0, width - 1, height - 1]
    middle = [width / 4, height / 4, 3 * width / 4 - 1, 3 * height / 4 - 1]
    return np.array([whole, middle], np.float32) / np.float32(ratio)


def bbox(box):
    """COCO's bbox of a box, in double precision."""
    x1, y1, x2, y2 = box.astype(np.float64)
    return [x1, y1, x2 - x1 + 1, y2 - y1 + 1]


def test_detections_of_all_pictures(programs, graph, plan, pictures, tmp_path):
    out = tmp_path / "found.json"
    said = programs.fails(3, "odtk_infer", plan, pictures, "--json", out)
    lines = said.splitlines()
    assert lines[0] == "2b.jpg: not an image, or its header is damaged"
    assert lines[1].startswith("odtk_infer: 5 images, 8 detections, 1 failed, ")
    found = json.loads(out.read_text(encoding="utf-8"))
    names = ["0.jpg", "1.png", "2.jpg", "2b.jpg", "3.png"]
    assert [(row["id"], row["file_name"]) for row in found["images"]] == list(enumerate(names))
    last = read_exported(graph).classes - 1
    rows = iter(found["annotations"])
    for number, name in enumerate(names):
        if name == "2b.jpg":
            continue
        for box, score, label in zip(
            expected_boxes(graph, pictures / name), (0.9, 0.5), (0, last), strict=True
        ):
            row = next(rows)
            assert row["image_id"] == number
            assert row["category_id"] == label
            assert row["score"] == float(np.float32(score))
            assert row["bbox"] == bbox(box)
    assert next(rows, None) is None


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_the_batch_and_graphs_change_nothing(programs, plan, pictures, tmp_path, batch):
    outputs = []
    for fakes in ({}, {"FAKE_NO_GRAPH": "1"}):
        flags = "--json", tmp_path / "x.json", "--batch", batch, "--threads", batch
        programs.fails(3, "odtk_infer", plan, pictures, *flags, fakes=fakes)
        outputs.append((tmp_path / "x.json").read_bytes())
    programs.fails(3, "odtk_infer", plan, pictures, "--json", tmp_path / "y.json")
    assert {*outputs} == {(tmp_path / "y.json").read_bytes()}


def test_thresholds(programs, plan, pictures, tmp_path):
    def count(*flags):
        programs.fails(3, "odtk_infer", plan, pictures, "--json", tmp_path / "x.json", *flags)
        return len(json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["annotations"])

    assert count("--threshold", 0.5) == 4  # the others have 0.5, which is not greater
    assert count("--threshold", 0.95) == 0
    assert count("--detections", 1) == 4
    assert count("--top-n", 5000, "--nms", 0.3) == 8


def test_names_of_drawings(programs, plan, pictures, tmp_path):
    picture, longest = pictures / "0.jpg", "ü" * 125 + ".jpg"
    found = tmp_path / "found"
    found.mkdir()
    for name in ("none", "old.tmp", "UP.JPG", longest):
        (found / name).write_bytes(picture.read_bytes())
    images = tmp_path / "names.txt"
    images.write_text("".join(f"{found}/{name}\n" for name in os.listdir(found)), encoding="utf-8")
    programs.ok("odtk_infer", plan, images, "--draw", tmp_path / "drawn")
    names = ["UP.JPG", "none.png", "old.tmp.png", "ü" * 105 + ".jpg"]
    assert sorted(os.listdir(tmp_path / "drawn")) == names
    with Image.open(tmp_path / "drawn" / "none.png") as image:
        assert image.format == "PNG"


def test_names_are_printed_on_one_line(programs, plan, pictures):
    (pictures / "0.jpg").rename(pictures / "two\nlines.jpg")
    printed = programs.ok("odtk_infer", plan, pictures / "two\nlines.jpg")
    assert [line.split()[0] for line in printed.splitlines()] == ["two?lines.jpg:"] * 2


def test_output_that_nobody_reads_ends_the_run(programs, plan, pictures, tmp_path):
    images = tmp_path / "many.txt"
    images.write_text(f"{pictures}/0.jpg\n" * 20_000, encoding="utf-8")
    command = programs.command("odtk_infer", plan, images)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert said == "error: cannot write to standard output\n"  # and no summary


def test_messages_do_not_get_into_files(programs, plan, pictures, tmp_path):
    for number in range(3):  # one of them would be the file's
        out = tmp_path / f"{number}.json"
        command = programs.command("odtk_infer", plan, pictures, "--json", out)
        closed = ["sh", "-c", f'exec "$@" {number}>&-', "sh", *command]
        assert subprocess.run(closed, check=False, capture_output=True).returncode == 3
        assert len(json.loads(out.read_text(encoding="utf-8"))["annotations"]) == 8


def test_prints_what_it_found(programs, plan, pictures):
    printed = programs.ok("odtk_infer", plan, pictures / "0.jpg", pictures / "3.png")
    assert [line.split()[0] for line in printed.splitlines()] == ["0.jpg:"] * 2 + ["3.png:"] * 2


def test_draws_a_copy_of_every_picture(programs, plan, pictures, tmp_path):
    drawn = tmp_path / "new" / "drawn"
    again = pictures.parent / "again"
    again.mkdir()
    Image.new("RGB", (80, 40)).save(again / "0.jpg")
    programs.fails(3, "odtk_infer", plan, pictures, again, "--draw", drawn)
    names = ["0-2.jpg", "0.jpg", "1.png", "2.jpg", "3.png"]
    assert sorted(os.listdir(drawn)) == names
    with Image.open(drawn / "0-2.jpg") as image:
        assert image.size == (80, 40)
        assert np.asarray(image).any()
    with Image.open(drawn / "1.png") as after, Image.open(pictures / "1.png") as before:
        changed = (np.asarray(after) != np.asarray(before)).any(axis=2)
    assert changed[0].any()  # the box around the picture
    assert not changed[20:40, 20:40].any()


def test_images_are_not_replaced(programs, plan, pictures, tmp_path):
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    link = tmp_path / "link"
    link.symlink_to(pictures)
    for folder in (pictures, link):
        assert "would replace" in programs.fails(2, "odtk_infer", plan, pictures, "--draw", folder)
    images, names = tmp_path / "names.txt", tmp_path / "names.json"
    names.write_text(f"{pictures}/1.png\n", encoding="utf-8")
    images.symlink_to(names)
    for target in (plan, f"{plan}.json", pictures / "1.png", names):
        said = programs.fails(2, "odtk_infer", plan, pictures, images, "--json", target)
        assert "would replace" in said
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before


def test_dumps_the_tensors_of_every_launch(programs, graph, plan, pictures, tmp_path):
    dump = tmp_path / "dump"
    programs.fails(3, "odtk_infer", plan, pictures, "--dump", dump)
    model = read_exported(graph)
    shapes = {"input_1": (3, *model.size)} | dict(
        zip(model.output_names, model.raw_shapes, strict=True)
    )
    files = sorted(f"{first:06}-{name}.npy" for first in (0, 2) for name in shapes)
    assert sorted(os.listdir(dump)) == files
    for name in files:
        array = np.load(dump / name)
        assert array.dtype == np.float32
        assert array.shape == (2, *shapes[name[7:-4]])


def test_measures(programs, plan, pictures):
    printed = programs.ok("odtk_infer", plan, pictures, "--bench", 2, "--threads", 2)
    lines = printed.splitlines()
    assert lines[0] == "batch 2, 5 images, 2 rounds, 2 decode threads"
    starts = ["the network alone", "pictures in memory, launches queued",
              "pictures in memory, one launch at a time", "from files", "memory:"]  # fmt: skip
    for line, start in zip(lines[1:], starts, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("fakes", "code", "message"),
    [
        ({"FAKE_TENSORRT": "8601"}, 2, "it was built by tensorrt 8.5.2 and this machine has tens"),
        ({"FAKE_GPU": "Orin 8.7"}, 2, "it was built on Xavier 7.2 and this machine has Orin 8.7"),
        ({"FAKE_GPU": "none"}, 2, "error: there is no GPU"),
        ({"FAKE_OLD_CODE": "1"}, 2, "build again: cmake -DODTK_ARCHITECTURES=72"),
        ({"FAKE_FAIL": "load"}, 1, "the engine plan file is not compatible"),
    ],
)
def test_a_plan_that_does_not_run_here(programs, plan, pictures, tmp_path, fakes, code, message):
    flags = "--json", tmp_path / "x.json"
    assert message in programs.fails(code, "odtk_infer", plan, pictures, *flags, fakes=fakes)
    assert not (tmp_path / "x.json").exists()


def test_a_dla(programs, graph, pictures, tmp_path):
    plan = tmp_path / "dla.plan"
    programs.ok("odtk_build", graph, plan, "--dla", 0, "--batches", 1, 1, 1)
    programs.ok("odtk_infer", plan, pictures / "0.jpg", "--dla", 1)
    said = programs.fails(2, "odtk_infer", plan, pictures / "0.jpg", "--dla", 2)
    assert "error: there is no DLA core 2: this machine has 2" in said


def test_plans_that_are_not_what_their_sidecar_says(programs, plan, pictures, tmp_path):
    copy = tmp_path / "copy.plan"
    beside = tmp_path / "copy.plan.json"
    content, about = (
        plan.read_bytes(),
        (plan.parent / "model.plan.json").read_text(encoding="utf-8"),
    )

    def said(changed, description):
        copy.write_bytes(changed)
        if description is not None:
            beside.write_text(description, encoding="utf-8")
        return programs.fails(2, "odtk_infer", copy, pictures)

    assert "copy.plan.json: No such file or directory" in said(content, None)
    assert "bytes and should have" in said(content + b"x", about)
    assert "it is not the plan that" in said(content[:-1] + b"x", about)
    assert "it was edited" in said(content, about.replace('"tensorrt 8.5.2"', '"tensorrt 8.5.3"'))
    assert "is damaged" in said(content, "{")


def test_models_that_the_kernels_cannot_decode(programs, plan, pictures, tmp_path):
    about = read_sidecar(str(plan))
    model, copy = about.model, tmp_path / "copy.plan"
    copy.write_bytes(plan.read_bytes())

    def said(**facts):
        changed = replace(about, model=replace(model, **facts))
        (tmp_path / "copy.plan.json").write_text(changed.to_json(), encoding="utf-8")
        return programs.fails(2, "odtk_infer", copy, pictures)

    lists = {name: getattr(model, name) * 4 for name in ("backbones", "strides", "anchor_boxes")}
    assert "error: the model has too many backbones: with 20 levels" in said(**lists)
    many = said(classes=1_000_000, size=(4096, 4096), class_names=None, category_ids=None)
    assert "the level of stride 8 has too many scores" in many


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: give a plan, and images"),
        (
            ["--threshold", "2"],
            "error: --threshold 2 is not valid: it must be a number from",
        ),
        (["--threshold", "nan"], "error: --threshold nan is not valid"),
        (["--batch", "5"], "error: the plan takes no batch of 5: it was built for 1 to 4"),
        (["--rotated-nms", "own"], "error: rotated NMS is for rotated models"),
        (["--rotated-nms", "mine"], "error: --rotated-nms mine is not valid: it is own or odtk"),
        (["--jsno", "x"], "hint: did you mean --json?"),
        (["--json"], "error: --json needs FILE"),
        (["--json", "--draw", "x"], "error: --json needs FILE"),
        (["--dump", ""], "error: --dump needs DIR"),
        (["--draw="], "error: --draw needs DIR"),
        (["--threshold", "-0.5"], "error: --threshold -0.5 is not valid: it must be a number from"),
        (["--top-n", "99999999999999999999"], "is not valid: it must be a whole number from 1 to"),
        (["-5"], "error: there is no option -5"),
        (["--bench", "2", "--json", "x.json"], "error: --bench and --json exclude each other"),
    ],
)
def test_wrong_command_lines(programs, plan, pictures, arguments, message):
    given = [plan, pictures, *arguments] if arguments else [plan]
    assert message in programs.fails(2, "odtk_infer", *given)


def test_an_output_that_cannot_be_written(programs, plan, pictures, tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name, why in [
        ("no/x.json", "No such file or directory"),
        ("folder.json", "it is a folder"),
    ]:
        said = programs.fails(1, "odtk_infer", plan, pictures, "--json", tmp_path / name)
        assert said.splitlines() == [f"error: cannot write {tmp_path / name}: {why}"]


def test_boxes_that_are_not_finite(programs, plan, pictures, tmp_path):
    flags = "--json", tmp_path / "x.json"
    fakes = {"FAKE_NAN": "1"}
    said = programs.fails(3, "odtk_infer", plan, pictures, *flags, fakes=fakes)
    assert said.count("the model gave boxes that are not finite") == 4
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["annotations"] == []


@pytest.mark.parametrize("inside", [(), VALGRIND])
def test_ctrl_c_leaves_no_output(programs, plan, pictures, tmp_path, inside):
    names = [f"{pictures}/0.jpg\n"] * 20_000
    images = tmp_path / "many.txt"
    images.write_text("".join(names), encoding="utf-8")
    out, drawn, here = tmp_path / "x.json", tmp_path / "drawn", tmp_path / "here"
    here.mkdir()
    flags = "--json", out, "--draw", drawn, "--threads", 4
    command = Programs(programs.folder, inside).command("odtk_infer", plan, images, *flags)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=here) as process:
        while not (drawn.exists() and os.listdir(drawn)):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 1
    assert said == "stopped\n"
    assert os.listdir(here) == []
    assert [path.name for path in tmp_path.iterdir() if "x.json" in path.name] == []
    for path in drawn.iterdir():
        with Image.open(path) as image:
            image.load()  # whole


def test_no_mistakes_with_memory(programs, plan, pictures, tmp_path):
    tool = Programs(programs.folder, VALGRIND)
    flags = "--json", tmp_path / "x.json", "--draw", tmp_path / "drawn", "--threads", 2
    tool.fails(3, "odtk_infer", plan, pictures, *flags)
    tool.fails(3, "odtk_infer", plan, pictures, "--dump", tmp_path / "dump")
    tool.fails(2, "odtk_infer", plan, pictures, "--batch", 9)


def test_the_example(programs, graph, plan, pictures, tmp_path):
    drawn = tmp_path / "drawn.png"
    printed = programs.ok("detect", plan, pictures / "1.png", drawn)
    x2, y2 = expected_boxes(graph, pictures / "1.png")[0, 2:]
    first = f"class 0, score 0.90, from (0, 0) to ({x2:.0f}, {y2:.0f})"
    assert printed.splitlines()[0] == first
    with Image.open(drawn) as image:
        assert image.size == (300, 200)
    said = programs.fails(1, "detect", plan, pictures / "2b.jpg", drawn)
    assert "not an image, or its header is damaged" in said


def test_the_example_has_30_lines():
    lines = (ROOT / "cuda_ops/cpp/example/detect.cpp").read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith("//")]
    assert len(code) <= 30
