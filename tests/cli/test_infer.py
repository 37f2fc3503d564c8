"""`odtk-ray infer` as a user calls it: outputs, words, exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from synthetic import picture

from odtk_ray.cli.program import cli

SMALL = ("--resize", "64", "--max-size", "128", "--threads-per-worker", "1")


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def infer(checkpoint, tmp_path, *arguments):
    outcome = run("infer", checkpoint, *SMALL, "--output", tmp_path / "out.json", *arguments)
    assert "Traceback" not in outcome.stderr
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit)
    return outcome


@pytest.fixture
def few(tmp_path):
    """Three pictures in a folder of their own."""
    folder = tmp_path / "few"
    folder.mkdir()
    for seed in range(3):
        picture(seed, 80, 60).save(folder / f"{seed}.jpg")
    return folder


# ---------------------------------------------------------------- what a good run says and writes


def test_folder_without_annotations(runs, checkpoint, few, tmp_path):
    (few / "notes.md").write_text("no image", encoding="utf-8")
    outcome = infer(checkpoint, tmp_path, "--images", few)
    assert outcome.exit_code == 0
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in document["images"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert {row["category_id"] for row in document["annotations"]} <= {0, 1, 2}
    names = [{"id": i, "name": f"class {i}"} for i in range(3)]
    assert document["categories"] == names
    assert {(image["width"], image["height"]) for image in document["images"]} == {(80, 60)}
    remarks = [line for line in outcome.stderr.splitlines() if not line.startswith("[")]
    assert remarks == [
        "note: files skipped because their names are not those of images: 1 (.md)",
        "note: category_id is the class index, 0 to 2",
    ]
    done, wrote = outcome.stdout.splitlines()
    found = len(document["annotations"])
    assert re.fullmatch(
        rf"done: 3 images, {found:,} detections, 0 failed, [\d.,]+ img/s on 1 CPU worker", done
    )
    assert wrote == f"wrote {tmp_path}/out.json"
    assert sorted(os.listdir(tmp_path)) == ["few", "out.json"]


def test_the_gpu_decoder_needs_a_gpu(runs, checkpoint, few, tmp_path):
    outcome = infer(checkpoint, tmp_path, "--images", few, "--decoder", "gpu")
    assert outcome.exit_code == 2
    assert "--decoder gpu needs GPU workers" in outcome.stderr
    assert sorted(os.listdir(tmp_path)) == ["few"]


def test_annotations_give_the_figures_of_pycocotools(
    runs, checkpoint, photos, annotations, tmp_path, capsys
):
    plain = tmp_path / "out.results.json"
    outcome = infer(
        checkpoint, tmp_path, "--images", photos, "--annotations", annotations, "--output", plain
    )
    assert outcome.exit_code == 0
    truth = COCO(str(annotations))
    truth.dataset["info"] = {}
    evaluation = COCOeval(truth, truth.loadRes(str(plain)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    capsys.readouterr()
    evaluation.summarize()
    twelve = capsys.readouterr().out.splitlines()
    assert outcome.stdout.splitlines()[:12] == twelve
    assert "class" in outcome.stdout.splitlines()[13]
    metrics = json.loads((tmp_path / "out.metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["stats"].values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-9)
    assert [row["name"] for row in metrics["classes"]] == ["nine", "five", "seven"]
    assert metrics["images_left_out"] == 0
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert {row["category_id"] for row in document["annotations"]} <= {9, 5, 7}
    assert document["images"] == json.loads(annotations.read_text(encoding="utf-8"))["images"]
    assert "in the order of the file: 0 = 9 nine, 1 = 5 five, 2 = 7 seven" in outcome.stderr


def test_drawn_pictures(runs, checkpoint, few, tmp_path):
    Image.new("L", (50, 40), 90).save(few / "gray.tif")
    outcome = infer(
        checkpoint, tmp_path, "--images", few,
        "--draw", tmp_path / "drawn", "--draw-threshold", "0.06",
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert sorted(os.listdir(tmp_path / "drawn")) == ["0.jpg", "1.jpg", "2.jpg", "gray.tif.png"]
    assert Image.open(tmp_path / "drawn" / "0.jpg").size == (80, 60)
    assert "4 pictures" in outcome.stdout


def test_nothing_detected_is_written_and_scored(runs, checkpoint, photos, annotations, tmp_path):
    outcome = infer(
        checkpoint, tmp_path, "--images", photos, "--annotations", annotations, "--threshold", "1"
    )
    assert outcome.exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["annotations"] == []
    assert (
        json.loads((tmp_path / "out.metrics.json").read_text(encoding="utf-8"))["stats"]["AP"] == 0
    )


def test_batch_is_shared_and_its_remainder_is_said(runs, checkpoint, few, tmp_path):
    outcome = infer(checkpoint, tmp_path, "--images", few, "--batch", "5", "--workers", "2")
    assert "note: --batch 5 over 2 workers: launches of 2 images" in outcome.stderr
    refused = infer(checkpoint, tmp_path, "--images", few, "--batch", "1", "--workers", "2")
    assert refused.exit_code == 2
    assert "--batch 1 is too small for 2 workers" in refused.stderr


def test_several_outputs_behind_one_flag_as_in_odtk(runs, checkpoint, few, tmp_path):
    outcome = infer(
        checkpoint, tmp_path, "--output", tmp_path / "b.csv", tmp_path / "c.jsonl", "--images", few
    )
    assert outcome.exit_code == 0
    assert sorted(p.name for p in tmp_path.glob("*.*")) == ["b.csv", "c.jsonl", "out.json"]


@pytest.mark.cluster
def test_a_good_run_says_nothing_but_our_own_lines(checkpoint, few, tmp_path):
    """A fresh process that starts Ray itself: its whole output, and no stray file."""
    command = [sys.executable, "-m", "odtk_ray", "infer", str(checkpoint), *SMALL]
    done = subprocess.run(
        [*command, "--images", str(few), "--output", "o.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    notes = [line for line in lines if line.startswith("note: ")]
    assert notes == ["note: category_id is the class index, 0 to 2"]
    progress = lines[len(notes) :]
    # What takes longer than ten seconds is said.
    line = (
        r"(\[\d/3\] )?[a-z ]+( Ray| 1 CPU worker)?|\[\d/3\] 0 failed(, [\d.]+ img/s, \d+ s left)?"
    )
    assert all(re.fullmatch(line, text) for text in progress)
    assert [text.split()[0] for text in done.stdout.splitlines()] == ["done:", "wrote"]
    assert sorted(os.listdir(tmp_path)) == ["few", "o.json"]


@pytest.mark.parametrize("source", ["few/*.jpg", "few/list.txt", "file://{}/few", "few/1.jpg"])
def test_kinds_of_sources(runs, checkpoint, few, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (few / "list.txt").write_text("0.jpg\n2.jpg\n", encoding="utf-8")
    outcome = infer(checkpoint, tmp_path, "--images", source.format(tmp_path))
    assert outcome.exit_code == 0
    images = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["images"]
    expected = {"few/list.txt": ["0.jpg", "2.jpg"], "few/1.jpg": ["1.jpg"]}
    everything = ["0.jpg", "1.jpg", "2.jpg"]
    assert [image["file_name"] for image in images] == expected.get(source, everything)


# ------------------------------------------------------------------------------- failing images


def bad_files(folder):
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture", encoding="utf-8")
    buffer = io.BytesIO()
    picture(1, 200, 200).save(buffer, "JPEG")
    (folder / "truncated.jpg").write_bytes(buffer.getvalue()[:-600])
    Image.new("RGB", (20_000, 5)).save(folder / "thin.png")
    Image.new("RGB", (20_000, 50)).save(folder / "wide.png")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("1", (15_000, 15_000)).save(folder / "bomb.png")


def test_bad_pictures_are_failed_rows_and_the_rest_is_done(runs, checkpoint, few, tmp_path):
    bad_files(few)
    outcome = infer(checkpoint, tmp_path, "--images", few, "--resize", "800", "--max-size", "1333")
    assert outcome.exit_code == 3
    failures = [
        json.loads(x)
        for x in (tmp_path / "out.failures.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {f["file_name"]: f["error"] for f in failures} == {
        "bomb.png": "too large: 15000x15000 is more than the limit of 178000000 pixels "
        "(--max-pixels; --tile reads TIFFs of any size)",
        "empty.jpg": "the file is empty (0 bytes)",
        "text.png": "not an image, or its header is damaged",
        "thin.png": "too narrow: 20000x5 would be resized to 1333x0 pixels "
        "(resize 800, max size 1333)",
        "truncated.jpg": failures[-1]["error"],
    }
    assert "truncated" in failures[-1]["error"]
    assert "10 images" in outcome.stdout
    assert "5 failed" in outcome.stdout
    assert "warning: 5 images failed, first bomb.png: too large: 15000x15000" in outcome.stderr
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert len(document["images"]) == 10
    # At the small size the 20,000x50 picture becomes too narrow as well: six failures.
    assert infer(checkpoint, tmp_path, "--images", few, "--max-failures", "6").exit_code == 0
    assert infer(checkpoint, tmp_path, "--images", few, "--max-failures", "5").exit_code == 3


def test_all_images_failing_is_a_failed_run(runs, checkpoint, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"")
    for tolerated in ("0", "5"):
        given = ("--images", folder, "--max-failures", tolerated)
        assert infer(checkpoint, tmp_path, *given).exit_code == 1
    assert (tmp_path / "out.failures.jsonl").exists()


@pytest.mark.cluster
def test_a_ground_truth_that_is_mended_is_scored_without_detecting_again(
    ray_session, checkpoint, photos, annotations, tmp_path
):
    """What is wrong with the annotations shows when the detections are there: they are kept."""
    truth = json.loads(annotations.read_text(encoding="utf-8"))
    last = truth.pop("annotations")  # planning passes over it unparsed
    broken = tmp_path / "truth.json"
    whole = json.dumps(truth)[:-1] + f', "annotations": {json.dumps(last)}' + "}"
    broken.write_text(whole.replace('"bbox": [', '"bbox": [nothing, ', 1), encoding="utf-8")
    given = ("--images", photos, "--annotations", broken)
    outcome = infer(checkpoint, tmp_path, *given)
    assert outcome.exit_code == 1
    assert "continue with --resume" in outcome.stderr
    detections = (tmp_path / "out.json").read_bytes()
    assert not (tmp_path / "out.metrics.json").exists()
    broken.write_text(whole, encoding="utf-8")
    outcome = infer(checkpoint, tmp_path, *given, "--resume")
    assert outcome.exit_code == 0, outcome.stderr
    assert "truth.json has changed: it is scored as it is now" in outcome.stderr
    assert (tmp_path / "out.json").read_bytes() == detections
    assert json.loads((tmp_path / "out.metrics.json").read_text(encoding="utf-8"))["images"] == len(
        truth["images"]
    )
    broken.write_text(whole.replace('"file_name": "', '"file_name": "./', 1), encoding="utf-8")
    again = ("--keep-run", "--output", tmp_path / "again.json")
    assert infer(checkpoint, tmp_path, *given, *again).exit_code == 0
    broken.write_text(whole, encoding="utf-8")
    outcome = infer(checkpoint, tmp_path, *given, *again, "--resume")
    assert "annotations differs" in outcome.stderr  # the images are others


def test_failed_and_missing_images_are_left_out_of_the_figures(
    runs, checkpoint, few, tmp_path, monkeypatch
):
    (few / "broken.jpg").write_bytes(b"x")
    names = ["0.jpg", "broken.jpg", "gone.jpg"]
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i % 3, "category_id": 1, "bbox": [1, 1, 9, 9]} for i in range(6)
        ],
        "categories": [{"id": i, "name": str(i)} for i in (1, 2, 3)],
    }
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    given = ("--images", few, "--annotations", tmp_path / "a.json")
    refused = infer(checkpoint, tmp_path, *given)
    assert refused.exit_code == 2
    assert "1 of 3 images" in refused.stderr
    assert "--allow-missing" in refused.stderr
    monkeypatch.chdir(tmp_path)
    outcome = infer(checkpoint, Path(), *given, "--allow-missing")
    assert outcome.exit_code == 3
    assert outcome.stdout.splitlines()[-1] == "wrote out.json, out.failures.jsonl, out.metrics.json"
    metrics = json.loads((tmp_path / "out.metrics.json").read_text(encoding="utf-8"))
    assert metrics["images"] == 1
    assert metrics["images_failed"] == 1
    assert metrics["images_missing"] == 1
    assert metrics["images_left_out"] == 2
    assert metrics["classes"][0]["boxes"] == 2


def test_turned_pictures_are_noticed(runs, checkpoint, tmp_path):
    folder = tmp_path / "turned"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: rotate by 90 degrees to see it upright
    picture(5, 80, 60).save(folder / "a.jpg", exif=exif)
    document = {"images": [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 80}]}
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    given = ("--images", folder, "--annotations", tmp_path / "a.json")
    ignored = infer(checkpoint, tmp_path, *given)
    assert "(orientation 6, width and height are swapped in the annotation file)" in ignored.stderr
    assert "--exif apply" in ignored.stderr
    assert "warning" not in infer(checkpoint, tmp_path, *given, "--exif", "apply").stderr


# ------------------------------------------------------------------------------------ wrong usage


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch owned",))


def damaged_checkpoint(kind, checkpoint, folder):
    import torch

    path = folder / "bad.pth"
    if kind == "missing":
        return folder / "gone.pth"
    if kind == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:20_000])
    elif kind == "malicious":
        path.write_bytes(pickle.dumps(Malicious()))
    else:
        content = torch.load(checkpoint, weights_only=True)
        if kind == "nan":
            content["state_dict"]["cls_head.0.weight"][0, 0, 0, 0] = float("nan")
        else:
            content["backbone"] = ["ResNet50FPN"]
        torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "gone.pth"),
        ("truncated", "bad.pth"),
        ("malicious", "bad.pth"),
        ("nan", "cls_head.0.weight"),
        ("architecture", "ResNet50FPN"),
    ],
)
def test_unusable_checkpoints(checkpoint, few, tmp_path, monkeypatch, kind, words):
    monkeypatch.chdir(tmp_path)
    path = damaged_checkpoint(kind, checkpoint, tmp_path)
    for outcome in (infer(path, tmp_path, "--images", few), run("info", path)):
        assert outcome.exit_code == 2
        assert outcome.stderr.startswith("error: ")
        assert words in outcome.stderr
        assert len(outcome.stderr.splitlines()) <= 3
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--images", "void"), "no images in"),
        (("--images", "gone"), "no such file or folder"),
        (("--annotations", "bad.json"), "not a usable COCO annotation file"),
        (("--annotations", "gone.json"), "cannot read gone.json"),
        (("--output", "x.xml"), "unknown output format: x.xml"),
        (("--output", "gone/x.json"), "there is no folder"),
        (("--output", "few"), "unknown output format"),
        (("--output", "/proc/x.json"), "cannot write /proc/x.json"),
        (("--output", "a.json", "--output", "./a.json"), "--output names a.json twice"),
        (("--draw", "few"), "--draw few would replace"),
        (("--draw", "few", "--images", "few/*.jpg"), "--draw few would replace"),
        (("--run-dir", "r", "--draw", "r/d"), "--draw r/d lies in the run folder"),
        (("--resize", "0"), "--resize 0 is out of range: it must be between 1 and 65,536"),
        (("--threshold", "1.5"), "--threshold 1.5 is out of range: it must be between 0 and 1"),
        (("--batch", "x"), "--batch cannot be x: it takes a whole number"),
        (("--exif", "maybe"), "--exif cannot be maybe: it takes ignore or apply"),
        (("--no-such-flag",), "there is no option --no-such-flag"),
    ],
)
def test_wrong_usage(checkpoint, few, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "void").mkdir()
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    outcome = run("infer", checkpoint, "--images", "few", *arguments)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert words in outcome.stderr
    assert not list(tmp_path.glob("*.run"))


IMAGE = {"id": 1, "file_name": "0.jpg"}
CATEGORIES = [{"id": i, "name": f"class {i}"} for i in (4, 5, 6)]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"annotations": []}, "it has no `images`"),
        ({"images": []}, "`images` is empty"),
        ({"images": [IMAGE, IMAGE]}, "1 image id occurs twice (first: 1)"),
        ({"images": [IMAGE], "categories": CATEGORIES * 2}, "two of its categories have the same"),
        ({"images": [IMAGE], "categories": CATEGORIES[:2]}, "3 classes"),
        ({"images": [IMAGE | {"file_name": "gone.jpg"}]}, "the first is gone.jpg"),
        ({"images": [IMAGE | {"file_name": "../few.pth"}]}, "leads out of the image folder"),
        ({"images": [IMAGE | {"file_name": "link.jpg"}]}, "leads out of the image folder"),
    ],
)
def test_unusable_annotations(checkpoint, few, tmp_path, monkeypatch, document, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.pth").write_text("outside", encoding="utf-8")
    (few / "link.jpg").symlink_to(tmp_path / "few.pth")
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    outcome = infer(checkpoint, tmp_path, "--images", few, "--annotations", "a.json")
    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert sorted(os.listdir(tmp_path)) == ["a.json", "few", "few.pth"]


def test_an_existing_run_folder_is_refused(checkpoint, few, tmp_path):
    (tmp_path / "out.json.run").mkdir()
    outcome = infer(checkpoint, tmp_path, "--images", few)
    assert outcome.exit_code == 2
    assert "--resume" in outcome.stderr
    resumed = infer(checkpoint, tmp_path, "--images", few, "--resume")
    assert resumed.exit_code == 2
    assert "is not a run folder" in resumed.stderr


def test_resume_refuses_other_settings_and_names_them(runs, checkpoint, few, tmp_path):
    assert infer(checkpoint, tmp_path, "--images", few, "--keep-run").exit_code == 0
    before = (tmp_path / "out.json").read_bytes()
    for flags, words in (
        (("--threshold", "0.2"), "postprocessing differs: planned with threshold 0.05, now "),
        (("--resize", "65"), "preprocessing differs: planned with resize 64, now resize 65"),
        (("--limit", "2"), "limit differs"),
        (("--threads-per-worker", "3"), "threads differs: planned with 1, now 3"),
    ):
        outcome = infer(checkpoint, tmp_path, "--images", few, "--resume", *flags)
        assert outcome.exit_code == 2
        assert words in outcome.stderr
    again = infer(checkpoint, tmp_path, "--images", few, "--resume")
    assert again.exit_code == 0
    assert "resuming: 3 of 3 images are done" in again.stderr
    assert (tmp_path / "out.json").read_bytes() == before
    assert not (tmp_path / "out.json.run").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_loses_nothing(runs, checkpoint, photos, annotations, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=96k", "none", str(small)], check=False
    )
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        (small / "out.json").write_text("of an earlier run", encoding="utf-8")
        given = ("--images", photos, "--run-dir", tmp_path / "run")
        outcome = run("infer", checkpoint, *SMALL, *given, "--output", small / "out.json")
        assert outcome.exit_code == 1
        assert "No space left on device" in outcome.stderr
        assert "--resume" in outcome.stderr
        assert os.listdir(small) == ["out.json"]
        assert (small / "out.json").read_text(encoding="utf-8") == "of an earlier run"
        # The run folder itself on a full disk: nothing is planned, nothing half-planned stays.
        with contextlib.suppress(OSError), open(small / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(512))
        nested = run("infer", checkpoint, *SMALL, "--images", photos, "--output", small / "b.json")
        assert nested.exit_code == 1
        assert "No space left on device" in nested.stderr
        assert sorted(os.listdir(small)) == ["filler", "out.json"]
        (small / "filler").unlink()
        subprocess.run(["/bin/mount", "-o", "remount,size=64m", str(small)], check=True)
        again = run("infer", checkpoint, *SMALL, *given, "--output", small / "out.json", "--resume")
        assert again.exit_code == 0
        assert len(json.loads((small / "out.json").read_text(encoding="utf-8"))["images"]) == 26
    finally:
        subprocess.run(["/bin/umount", str(small)], check=True)


def test_info(checkpoint):
    outcome = run("info", checkpoint)
    assert outcome.exit_code == 0
    assert re.search(r"^backbone +ResNet18FPN$", outcome.stdout, re.MULTILINE)
    assert re.search(r"^classes +3$", outcome.stdout, re.MULTILINE)
