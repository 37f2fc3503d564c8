"""Training for real, of one small picture; and that it goes on as if it had not been stopped."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from training.appearance import MILD, AppearanceRange
from training.batches import Batch, TileSource, network_boxes
from training.loop import Recipe, Trainer, picture_indices
from training.photographs import Photograph
from training.scenes import Style, draw_scene
from training.silhouettes import NAMES
from training.tiles import Augmentation
from training.validation import evaluate, evaluate_scenes

from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.pth import read_pth
from odtk_ray.settings import Preprocessing

NONE = AppearanceRange(1, 1, 1, 0, 0, 1, 1, 1, 1, (0, 0), 0)
TILES = Augmentation(side=128, zoom=(1.0, 1.0), stretch=1.0, holes=0, variety=NONE)
QUICK = Recipe(
    iterations=45,
    batch=2,
    rate=0.02,
    warmup=5,
    clip=5.0,
    frozen=1,
    average=0.5,
)


@pytest.fixture(scope="module")
def photograph():
    """Two bright squares on dark ground."""
    boxes = np.array([[16, 24, 56, 64], [72, 80, 112, 120]])
    pixels = np.full((128, 128, 3), 30, np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = (240, 200, 40)
    return Photograph(Image.fromarray(pixels), boxes.astype(np.float64))


@pytest.fixture
def source(photograph):
    return TileSource([photograph], TILES, seed=1)


@pytest.mark.parametrize(
    ("iteration", "factor"),
    [
        (0, 0.1),
        (50, 0.55),
        (100, 1.0),
        (600, 0.5),  # half of the way down
        (850, 0.5 * (1 + math.cos(0.75 * math.pi))),
        (1100, 0.0),
        (2000, 0.0),
    ],
)
def test_rate(iteration, factor):
    assert Recipe(iterations=1100, warmup=100).factor(iteration) == pytest.approx(factor)


def test_no_iterations_change_nothing(start, source, tmp_path):
    trainer = Trainer(start, source, Recipe(iterations=0))
    assert list(trainer.steps()) == []
    trainer.save(tmp_path / "same.pth")
    assert load_checkpoint(tmp_path / "same.pth").sha256 == load_checkpoint(start).sha256


def test_training_finds_the_boxes_of_one_picture(start, photograph, source, tmp_path):
    trainer = Trainer(start, source, QUICK)
    steps = list(trainer.steps())
    assert [step.iteration for step in steps] == list(range(1, 46))
    first, last = (np.mean([s.focal + s.box for s in part]) for part in (steps[:5], steps[-5:]))
    assert last < 0.5 * first
    trainer.export(tmp_path / "model.pth")
    stats = evaluate(tmp_path / "model.pth", [photograph], Preprocessing(resize=128)).stats
    assert stats["AP50"] > 0.9


def test_a_resumed_training_ends_with_the_same_weights(start, photograph, tmp_path):
    tiles = Augmentation(side=96, zoom=(1.0, 1.5), variety=MILD)
    source = TileSource([photograph], tiles, seed=0)
    recipe = Recipe(iterations=4, batch=2, rate=0.02, warmup=2)
    whole = Trainer(start, source, recipe)
    expected = list(whole.steps())
    whole.save(tmp_path / "whole.pth")

    first = Trainer(start, source, recipe)
    steps = first.steps()
    taken = [next(steps), next(steps)]
    first.save(tmp_path / "half.pth")
    steps.close()
    second = Trainer(tmp_path / "half.pth", source, recipe)
    assert second.iteration == 2
    assert taken + list(second.steps()) == expected
    second.save(tmp_path / "resumed.pth")
    contents = [read_pth(tmp_path / f"{name}.pth") for name in ("whole", "resumed")]
    for name, tensor in contents[0]["state_dict"].items():
        assert torch.equal(tensor, contents[1]["state_dict"][name]), name
    momenta = [content["optimizer"]["state"] for content in contents]
    assert all(
        torch.equal(momenta[0][i]["momentum_buffer"], momenta[1][i]["momentum_buffer"])
        for i in momenta[0]
    )
    assert contents[0]["scheduler"] == contents[1]["scheduler"]
    averages = [content["average"] for content in contents]
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])
    other = torch.equal(
        read_pth(tmp_path / "half.pth")["state_dict"]["cls_head.0.weight"],
        contents[0]["state_dict"]["cls_head.0.weight"],
    )
    assert not other


def test_statistics_and_the_first_layers_stay_as_they_are(start, source):
    recipe = Recipe(iterations=2, batch=2, warmup=1, frozen=2)
    trainer = Trainer(start, source, recipe)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    list(trainer.steps())
    after = trainer.model.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    trunk = "backbones.MobileNetV2FPN.features.features."
    frozen = {name for name in before if name.startswith((f"{trunk}0.", f"{trunk}1."))}
    normalisations = {
        name.removesuffix("running_mean") for name in before if name.endswith("running_mean")
    }
    expected = frozen | {name for name in before if name.startswith(tuple(normalisations))}
    assert len(expected) > 100
    assert same == expected


def test_the_trunk_learns_at_its_own_rate(start, source):
    def moved(recipe):
        trainer = Trainer(start, source, recipe)
        names = [name for name, p in trainer.model.named_parameters() if p.requires_grad]
        before = {name: trainer.model.get_parameter(name).clone() for name in names}
        list(trainer.steps())
        return {
            name: (trainer.model.get_parameter(name) - before[name]).norm().item()
            for name in names
            if "features.18" not in name
        }

    whole, tenth = (
        moved(Recipe(iterations=1, batch=2, decay=0, trunk=trunk)) for trunk in (1, 0.1)
    )
    for name, distance in whole.items():
        share = 0.1 if "features.features" in name else 1.0
        assert tenth[name] == pytest.approx(share * distance, rel=1e-3, abs=1e-7), name


def test_the_average_of_the_weights_is_what_is_exported(start, source, tmp_path):
    recipe = Recipe(iterations=4, batch=2, warmup=1, average=0.75)
    trainer = Trainer(start, source, recipe)
    expected = None
    for _ in trainer.steps():
        weights = trainer.model.get_parameter("cls_head.8.weight").detach().clone()
        expected = weights if expected is None else 0.75 * expected + 0.25 * weights
    trainer.export(tmp_path / "model.pth")
    exported = read_pth(tmp_path / "model.pth")["state_dict"]["cls_head.8.weight"].float()
    assert torch.allclose(exported, expected, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(exported, weights, rtol=1e-3, atol=1e-7)


def test_files_for_training_and_for_inference(start, source, tmp_path):
    trainer = Trainer(start, source, Recipe(iterations=1, batch=2))
    list(trainer.steps())
    trainer.save(tmp_path / "training.pth")
    trainer.export(tmp_path / "model.pth")
    training, model = (read_pth(tmp_path / f"{name}.pth") for name in ("training", "model"))
    assert {"iteration", "optimizer", "scheduler"} <= set(training)
    assert training["state_dict"]["cls_head.0.weight"].dtype == torch.float32
    assert any("features.18" in name for name in training["state_dict"])
    assert not {"iteration", "optimizer", "scheduler", "scaler"} & set(model)
    assert not any("features.18" in name for name in model["state_dict"])
    assert (tmp_path / "model.pth").stat().st_size <= 6 << 20
    loaded = load_checkpoint(tmp_path / "model.pth")
    assert (loaded.dtype, loaded.channels, loaded.class_names) == ("float16", 64, ("tree",))


@pytest.mark.parametrize(("batch", "world"), [(4, 1), (4, 2), (6, 3)])
def test_processes_share_the_tiles_of_a_batch(batch, world):
    for iteration in (0, 5):
        shares = [picture_indices(iteration, batch, rank, world) for rank in range(world)]
        assert {len(share) for share in shares} == {batch // world}
        batch_of_one = list(picture_indices(iteration, batch, 0, 1))
        assert sorted(index for share in shares for index in share) == batch_of_one
        assert batch_of_one[0] == iteration * batch


def test_a_batch_that_cannot_be_shared_is_refused(start, source):
    with pytest.raises(ValueError, match="3 cannot be shared by 2"):
        Trainer(start, source, Recipe(batch=3), rank=1, world=2)


@pytest.fixture(scope="module")
def scene():
    """Two bars and a wedge on plain ground, turned in different ways."""
    style = Style(side=128, count=(3, 3), sides=(18, 70), aspects=(1.5, 3.5), hidden=0.0)
    ground = Image.new("RGB", (128, 128), (120, 120, 120))
    return draw_scene([ground], style, 2, 1)


class Same:
    """A source of one scene over and over, given as two pictures of every batch."""

    side = 128

    def __init__(self, scene):
        pixels = torch.from_numpy(scene.pixels).permute(2, 0, 1).float()
        boxes, classes = torch.from_numpy(network_boxes(scene)), torch.from_numpy(scene.classes)
        self._batch = Batch(pixels.expand(2, -1, -1, -1), [boxes] * 2, [classes] * 2)

    def batches(self, steps):
        return (self._batch for _ in steps)


@pytest.mark.long
def test_training_finds_the_turned_boxes_of_one_scene(rotated_start, scene, tmp_path):
    assert len(scene.boxes) == 3
    recipe = Recipe(iterations=60, batch=2, rate=0.02, warmup=5, frozen=1, average=0.5)
    trainer = Trainer(rotated_start, Same(scene), recipe)
    steps = list(trainer.steps())
    assert steps[-1].focal + steps[-1].box < 0.3 * (steps[0].focal + steps[0].box)
    trainer.export(tmp_path / "model.pth")
    report = evaluate_scenes(tmp_path / "model.pth", [scene], Preprocessing(resize=128))
    assert report.metrics.stats["AP50"] > 0.9
    assert report.error < 5
    saved = load_checkpoint(tmp_path / "model.pth")
    assert saved.rotated
    assert saved.angles == pytest.approx(load_checkpoint(rotated_start).angles)
    assert (saved.classes, saved.class_names) == (4, NAMES)
