"""Calibration: samples, taps against hooks, workers that add up, tables that are refused."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from synthetic import picture
from torch import nn

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.cli.program import cli
from odtk_ray.errors import UsageError
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.int8.calibration import collect, collect_share, draw_sample
from odtk_ray.exports.int8.calibration_table import read_table
from odtk_ray.exports.traced_network import trace_checkpoint
from odtk_ray.images.decode_image import load_picture
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.settings import Preprocessing
from odtk_ray.storage import object_stores

SIZE = (64, 96)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    for seed in range(6):
        picture(seed, 96, 64).save(folder / f"{seed}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def draw(images, count, seed):
    return draw_sample(str(images), count, SIZE, seed, ImageLists())


def test_samples_are_random_seeded_and_skip_what_is_broken(images):
    one, two = (draw(images, 6, 0) for _ in range(2))
    assert one == two
    assert len(set(one.paths)) == 6
    assert one.unreadable in (0, 1)  # drawn or not
    assert {draw(images, 2, seed).paths[0] for seed in range(12)} > {one.paths[0]}
    with pytest.raises(UsageError, match=r"needs 7 images and .* has 6: 1 cannot be decoded"):
        draw(images, 7, 0)


def test_taps_see_what_hooks_see(checkpoint, images):
    loaded = load_checkpoint(checkpoint)
    paths = [str(images / "0.png"), str(images / "1.png")]
    network = trace_checkpoint(loaded)
    found = collect(network, SIZE, [paths])
    elsewhere = collect_share(str(checkpoint), "auto", loaded.sha256, SIZE, [paths])
    assert elsewhere.keys() == found.keys()
    for key, histogram in elsewhere.items():
        assert np.array_equal(histogram.counts, found[key].counts), key
        assert histogram.largest == found[key].largest, key

    model = fold_batch_norms(loaded.build())
    seen: dict[str, list[torch.Tensor]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(
                lambda _, inputs, name=name: seen.setdefault(name, []).append(inputs[0].clone())
            )
    prep = Preprocessing(fit=SIZE)
    pixels = np.stack([load_picture(Path(p).read_bytes(), prep).pixels for p in paths])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = ((torch.from_numpy(pixels).float() / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        model(batch.contiguous())

    trunk = "backbones.ResNet18FPN.features"
    for key, value in {
        f"{trunk}.conv1:in": seen[f"{trunk}.conv1"][0],
        f"{trunk}.layer2.0.conv2:in": seen[f"{trunk}.layer2.0.conv2"][0],
        "backbones.ResNet18FPN.P3.upsample:up": seen["backbones.ResNet18FPN.smooth4"][0],
        "cls_head.0/ResNet18FPN/P3:in": seen["box_head.0"][0],
        "box_head.6/ResNet18FPN/P6:in": seen["box_head.6"][3],
    }.items():
        assert found[key].largest == pytest.approx(float(value.abs().max()), rel=1e-5), key
        assert found[key].counts.sum() == int((value != 0).sum()), key


def export(checkpoint, out, *arguments):
    fixed = ["export", checkpoint, out, "--size", *SIZE, "--int8"]
    return CliRunner().invoke(cli, [str(a) for a in (*fixed, *arguments)])


@pytest.fixture(scope="module")
def table(checkpoint, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    path = folder / "table.json"
    outcome = export(
        checkpoint, folder / "m.onnx", "--calibration-images", images,
        "--calibration-batches", 2, "--calibration-table", path, "--calibration-method", "max",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "64x96, INT8" in outcome.output
    assert read_exported(folder / "m.onnx").precision == "int8"
    return path


def test_a_table_says_what_it_was_made_from(table, checkpoint):
    content = read_table(str(table))
    assert content.method == "max"
    assert content.size == SIZE
    assert content.model == load_checkpoint(checkpoint).sha256
    assert len(content.images) == len(content.names) == 4
    assert json.loads(table.read_text(encoding="utf-8"))["amax"] == content.amax


def test_a_table_is_reused_without_images(table, checkpoint, tmp_path):
    outcome = export(checkpoint, tmp_path / "m.onnx", "--calibration-table", table)
    assert outcome.exit_code == 0, outcome.output
    assert "using the ranges of" in outcome.output
    first = table.parent / "m.onnx"
    assert (tmp_path / "m.onnx").read_bytes() == first.read_bytes()


def test_a_table_is_read_where_nobody_may_write(table, checkpoint, tmp_path):
    with open(table, encoding="utf-8") as file:
        there = f"/proc/self/fd/{file.fileno()}"
        outcome = export(checkpoint, tmp_path / "m.onnx", "--calibration-table", there)
    assert outcome.exit_code == 0, outcome.output


def test_a_table_is_reused_with_the_same_images_only(table, checkpoint, images, tmp_path):
    common = ("--calibration-table", table, "--calibration-images", images,
              "--calibration-method", "max")  # fmt: skip
    out = tmp_path / "m.onnx"
    again = export(checkpoint, out, *common, "--calibration-batches", 2)
    assert again.exit_code == 0, again.output
    before = table.read_bytes()
    other = export(checkpoint, out, *common, "--calibration-batches", 3)
    assert other.exit_code == 2
    assert "made from other images" in other.output
    assert "--recalibrate" in other.output
    assert table.read_bytes() == before


def test_another_method_than_the_tables_is_refused(table, checkpoint, tmp_path):
    flags = ("--calibration-table", table, "--calibration-method", "mse")
    outcome = export(checkpoint, tmp_path / "m.onnx", *flags)
    assert outcome.exit_code == 2
    assert "its method is max, and --calibration-method is mse" in outcome.output


@pytest.mark.parametrize("content", [b"PK of a checkpoint", b'{"images": [], "annotations": []}'])
def test_what_is_no_table_is_not_replaced(checkpoint, images, tmp_path, content):
    path = tmp_path / "t.json"
    path.write_bytes(content)
    flags = ("--calibration-images", images, "--calibration-table", path)
    for more in ((), ("--recalibrate",)):
        outcome = export(checkpoint, tmp_path / "m.onnx", *flags, *more)
        assert outcome.exit_code == 2
        assert path.read_bytes() == content
    assert f"cannot write {path}: the existing file is not a calibration table" in outcome.output
    assert os.listdir(tmp_path) == ["t.json"]


def test_a_damaged_table_is_made_anew(table, checkpoint, images, tmp_path):
    path = tmp_path / "t.json"
    path.write_bytes(table.read_bytes()[:200])
    flags = ("--calibration-images", images, "--calibration-table", path, "--recalibrate",
             "--calibration-batches", 2, "--calibration-method", "max")  # fmt: skip
    assert export(checkpoint, tmp_path / "m.onnx", *flags).exit_code == 0
    assert read_table(str(path)) == read_table(str(table))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--int8-exclude", "nothing*"), "--int8-exclude nothing* matches nothing"),
        (("--calibration-table", "no/t.json"), "there is no folder no"),
        (("--calibration-table", ".", "--recalibrate"), "cannot write .: it is a folder"),
        (("--calibration-table", "/proc/self/fd/t.json"), "choose a folder that you can write to"),
        (
            ("--calibration-table", "./m.onnx"),
            "OUTPUT and --calibration-table are the same file",
        ),
        (("--workspace", 1), "--workspace is for plans: m.onnx is not a .plan file"),
        (("--dynamic-batch-opts", 1, 2, 4), "--dynamic-batch-opts is for plans"),
        (("--seed", -1), "--seed"),
    ],
)
def test_wrong_usage_is_said_before_the_calibration(
    checkpoint, images, tmp_path, monkeypatch, flags, message
):
    monkeypatch.chdir(tmp_path)
    outcome = export(checkpoint, "m.onnx", "--calibration-images", images, *flags)
    assert outcome.exit_code == 2
    assert message in outcome.output
    assert "calibrating on" not in outcome.output
    assert os.listdir(tmp_path) == []


def test_a_table_and_a_checkpoint_in_a_bucket(s3, table, checkpoint, images, tmp_path):
    object_stores.upload(str(checkpoint), f"{s3.url}/model.pth")
    there = f"{s3.url}/table.json"
    outcome = export(
        f"{s3.url}/model.pth", tmp_path / "m.onnx", "--calibration-images", images,
        "--calibration-batches", 2, "--calibration-table", there, "--calibration-method", "max",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert read_table(there) == read_table(str(table))
    outcome = export(checkpoint, tmp_path / "again.onnx", "--calibration-table", there)
    assert outcome.exit_code == 0, outcome.output
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


@pytest.mark.cluster
def test_workers_add_up_to_the_same_table(ray_session, checkpoint, images, tmp_path):
    texts = []
    for name, more in (("one", ()), ("two", ("--workers", 2))):
        path = tmp_path / f"{name}.json"
        outcome = export(
            checkpoint, tmp_path / f"{name}.onnx", "--calibration-images", images,
            "--calibration-batches", 3, "--calibration-table", path, *more,
        )  # fmt: skip
        assert outcome.exit_code == 0, outcome.output
        texts.append(path.read_text(encoding="utf-8"))
    ranges = [json.loads(text)["amax"] for text in texts]
    assert ranges[0].keys() == ranges[1].keys()
    for key, value in ranges[0].items():  # another number of threads moves the last bits
        assert value == pytest.approx(ranges[1][key], rel=2e-2), key


def test_what_a_worker_raises_is_one_sentence(ray_session, checkpoint, images, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    for name, weight in content["state_dict"].items():
        if name.endswith("conv1.weight"):
            weight.mul_(1e30)
    torch.save(content, tmp_path / "huge.pth")
    flags = ("--calibration-images", images, "--calibration-batches", 1, "--workers", 1)
    outcome = export(tmp_path / "huge.pth", tmp_path / "m.onnx", *flags)
    assert outcome.exit_code == 1
    (said,) = [x for x in outcome.stderr.splitlines() if not x.startswith(("note: ", "warning: "))]
    assert said.startswith("error: calibration found NaN or infinity in ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--int8 needs --calibration-images"),
        (["--calibration-table", "none.json"], "there is no calibration table none.json"),
        (["--calibration-table", "broken.json"], "it is not JSON"),
        (["--calibration-table", "list.json"], "not a calibration table"),
        (["--calibration-table", "model.json"], "it is for model 000000000000"),
        (["--calibration-table", "size.json"], "it was made at 32x96, and --size is 64x96"),
        (["--calibration-table", "less.json"], "1 of its entries do not belong to this network"),
        (["--calibration-table", "nan.json"], "not a calibration table"),
        (["--calibration-images", "{images}"], "calibration needs 20 images"),
        (["--calibration-images", "{images}", "--calibration-batches", "2",
          "--calibration-table", "table.json"],
         "its method is max, and --calibration-method is entropy"),
    ],
)  # fmt: skip
def test_refusals_write_nothing(
    table, checkpoint, images, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    content = json.loads(table.read_text(encoding="utf-8"))
    less = dict(list(content["amax"].items())[1:])
    key = next(iter(content["amax"]))
    for name, text in {
        "table": json.dumps(content),
        "broken": "{",
        "list": "[1]",
        "model": json.dumps(content | {"model": "0" * 64}),
        "size": json.dumps(content | {"size": [32, 96]}),
        "less": json.dumps(content | {"amax": less}),
        "nan": json.dumps(content | {"amax": {**less, key: float("nan")}}),
    }.items():
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    before = sorted(os.listdir(tmp_path))
    outcome = export(checkpoint, "m.onnx", *(a.format(images=images) for a in arguments))
    assert outcome.exit_code == 2, outcome.output
    assert message in outcome.output
    assert sorted(os.listdir(tmp_path)) == before


def test_a_table_without_room_leaves_nothing(checkpoint, images, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        outcome = export(checkpoint, tmp_path / "m.onnx", "--calibration-images", images,
                         "--calibration-batches", 1, "--calibration-table",
                         tmp_path / "table.json")  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.exit_code == 1
    assert f"cannot write {tmp_path / 'table.json'}: File too large" in outcome.output
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("rotated", [False, True])
def test_images_that_cannot_be_decoded_are_skipped_and_counted(request, images, tmp_path, rotated):
    checkpoint = request.getfixturevalue("rotated_checkpoint" if rotated else "checkpoint")
    seeds = (s for s in range(20) if draw(images, 6, s).unreadable)
    outcome = export(checkpoint, tmp_path / "m.onnx", "--calibration-images", images,
                     "--calibration-batches", 3, "--seed", next(seeds))  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "warning: 1 calibration image cannot be decoded: skipped" in outcome.stderr
    assert read_exported(tmp_path / "m.onnx").rotated == rotated


def test_calibration_flags_need_int8(checkpoint, images, tmp_path):
    arguments = ["export", checkpoint, tmp_path / "m.onnx", "--calibration-images", images]
    outcome = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert outcome.exit_code == 2
    assert "need --int8" in outcome.output
