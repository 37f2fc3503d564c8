"""`--update`: a folder that grows, run after run, against runs over all of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from effort import examples, long_case
from engines_for_tests import PixelEngine
from hypothesis import Phase, given
from hypothesis import strategies as st
from PIL import Image
from synthetic import Quiet, make_results, make_run, picture

from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.run import fingerprint
from odtk_ray.run.dry_run import dry_run
from odtk_ray.run.pipeline import infer
from odtk_ray.run.update_run import UpdateCounts
from odtk_ray.shards.image_stamps import ImageStamps, write_stamps
from odtk_ray.shards.run_folder import RunFolder

OUTPUTS = ("out.json", "out.results.json", "out.jsonl", "out.csv", "out.parquet")
TESTS = Path(__file__).parents[1]

# Runs an update that dies at one of its calls of a function.
DYING = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from engines_for_tests import PixelEngine
from synthetic import Quiet
from odtk_ray.config import InferConfig
from odtk_ray.run.pipeline import infer
from odtk_ray.shards import cut_shards, run_folder
from odtk_ray.storage import atomic

def dying(owner, name, calls):
    function = getattr(owner, name)
    def call(*arguments, **named):
        nonlocal calls
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    setattr(owner, name, call)

cut_shards.LARGEST = 32  # several shards with known results
owner = {"commit": run_folder.RunFolder, "rename": os}[sys.argv[2]]
dying(owner, sys.argv[2], int(sys.argv[3]))
infer(eval(sys.argv[4]), Quiet(), PixelEngine)
"""


def make_config(checkpoint, folder, images, **changes):
    config = InferConfig(
        str(checkpoint), images=str(images), output=outputs(folder), threads_per_worker=1,
        local=True, resize=64, max_size=128, keep_run=True,
    )  # fmt: skip
    return replace(config, **changes)


def outputs(folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    return tuple(os.path.join(folder, name) for name in OUTPUTS)


def run(config, make=PixelEngine):
    reporter = Quiet()
    return infer(config, reporter, make), reporter


def content(folder):
    """Everything in a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def results(folder):
    """The outputs and the list of failures in a folder."""
    return {name: data for name, data in content(folder).items() if "/" not in name}


def fresh(config, folder):
    """What a run over all images writes."""
    run(replace(config, output=outputs(folder), update=None, keep_run=False))
    return results(folder)


def noise(path, seed, size=(64, 48)):
    """Write a picture; all that have one size in pixels have one size in bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(12):
        noise(folder / f"{seed:02d}.png", seed)
    return folder


@pytest.fixture
def config(checkpoint, tmp_path, images):
    return make_config(checkpoint, tmp_path / "old", images)


@pytest.fixture
def grown(config, images, tmp_path):
    """An update of a finished run, whose folder has a new, a changed, and two broken images."""
    (images / "05.png").write_bytes(b"broken")
    run(config)
    picture(90, 96, 40).save(images / "045.png")
    noise(images / "07.png", 91)  # of the same size
    (images / "08.png").write_bytes(b"broken too")
    (images / "02.png").unlink()
    return replace(config, output=outputs(tmp_path / "new"), update=config.output[0])


class Growing:
    """A folder that changes in steps; what is written has another time than what was there."""

    def __init__(self, folder):
        self.folder, self.seed = Path(folder), 0

    def path(self, number):
        return self.folder / f"{number:02d}.png"

    def write(self, number):
        self.seed += 1
        noise(self.path(number), self.seed, (64, 48) if self.seed % 5 else (96, 40))
        self.tick(number)

    def damage(self, number):
        self.path(number).write_bytes(b"no image")
        self.tick(number)

    def remove(self, number):
        if len(list(self.folder.iterdir())) > 1:
            self.path(number).unlink(missing_ok=True)

    def tick(self, number):
        self.seed += 1
        os.utime(self.path(number), ns=(10**18, 10**18 + self.seed))


STEP = st.tuples(st.sampled_from(["write", "damage", "remove"]), st.integers(0, 8))
STEPS = st.lists(STEP, min_size=1, max_size=6)


def annotate(path, images, number):
    """Write a COCO file that names a folder's images, each time in another order."""
    names = np.random.default_rng(number).permutation(sorted(images)).tolist()
    entries = [{"id": f"id {name}", "file_name": name, "note": "kept"} for name in names]
    path.write_text(json.dumps({"images": entries}), encoding="utf-8")


@pytest.mark.parametrize("annotated", [False, True])
@given(first=STEPS, later=st.lists(st.tuples(STEPS, st.booleans()), min_size=1, max_size=3))
@examples(24, phases=(Phase.reuse, Phase.generate))  # smaller ones would be looked for minutes long
def test_a_chain_of_updates_is_a_run_over_all(checkpoint, annotated, first, later):
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        growing = Growing(folder / "images")
        for number in range(6):
            growing.write(number)
        config = make_config(checkpoint, folder / "0", growing.folder)
        if annotated:
            config = replace(config, annotations=str(folder / "names.json"))
        for number, (steps, in_place) in enumerate([(first, True), *later]):
            for step, image in steps:
                getattr(growing, step)(image)
            annotate(folder / "names.json", os.listdir(growing.folder), number)
            if not in_place:
                before = config.output[0]
                config = replace(config, output=outputs(folder / f"{number}"), update=before)
            run(config)
            assert results(Path(config.output[0]).parent) == fresh(config, folder / "all")
            shutil.rmtree(folder / "all")
            config = replace(config, update=config.output[0])


def test_only_new_and_changed_images_run(grown, config, tmp_path):
    before = content(Path(config.output[0]).parent)
    summary, said = run(grown)
    assert summary.update == UpdateCounts(reused=8, new=1, changed=2, failed=1, gone=1)
    assert (summary.images, summary.detected, summary.failed) == (12, 4, 2)
    text = "1 new, 2 changed, 8 reused, 1 tried again, 1 gone"
    assert f"updating {grown.update}, of the images {text}" in said.notes
    assert results(tmp_path / "new") == fresh(grown, tmp_path / "fresh")
    assert content(Path(config.output[0]).parent) == before


def test_a_dry_run_counts_and_writes_nothing(grown, tmp_path):
    before = content(tmp_path)
    rows = dict(dry_run(grown, Quiet(), make_engine=PixelEngine))
    assert rows["update"] == "1 new, 2 changed, 8 reused, 1 tried again, 1 gone"
    assert rows["shards"] == "2 of 2 images"
    assert content(tmp_path) == before


def test_headers_of_known_images_are_not_read_again(grown, monkeypatch):
    from odtk_ray.run import missing_sizes

    read, asked = missing_sizes.read_sizes, []

    def noting(paths, exif):
        asked.extend(map(os.path.basename, paths))
        return read(paths, exif)

    monkeypatch.setattr(missing_sizes, "read_sizes", noting)
    run(grown)
    assert asked == ["045.png", "05.png", "07.png", "08.png"]


def test_the_first_run_in_place_runs_everything(config, images):
    config = replace(config, keep_run=False, update=config.output[0])
    summary, said = run(config)
    assert summary.update is None
    assert f"there is no {config.output[0]} to update yet: all images run" in said.notes
    picture(99, 64, 48).save(images / "99.png")
    summary, _ = run(config)
    assert (summary.detected, summary.update.reused) == (1, 12)
    assert {p.name for p in Path(config.output[0]).parent.iterdir()} == {*OUTPUTS, "out.json.run"}


@pytest.mark.parametrize("inputs", ["list", "glob"])
def test_lists_and_globs_are_updated_too(config, images, tmp_path, inputs):
    if inputs == "list":
        chosen = tmp_path / "list.txt"
        chosen.write_text("".join(f"images/{n:02d}.png\n" for n in (7, 3, 3)), encoding="utf-8")
    else:
        chosen = images / "*[37].png"
    config = replace(config, images=str(chosen))
    run(config)
    picture(99, 64, 48).save(images / "03.png")
    update = replace(config, output=outputs(tmp_path / "new"), update=config.output[0])
    summary, _ = run(update)
    assert summary.update.reused == 1
    assert results(tmp_path / "new") == fresh(update, tmp_path / "fresh")


@pytest.mark.parametrize(("call", "number"), [
    long_case("commit", 2), ("commit", 4), long_case("rename", 2), ("rename", 3),
])  # fmt: skip
def test_a_killed_update_is_resumed(config, images, tmp_path, call, number):
    """Amid what is taken over, amid what is detected, before the folders change place, amid that.

    The update is in place; until its end the earlier run and its outputs are what they were.
    """
    for seed in range(12, 100):
        picture(seed, 64, 48).save(images / f"{seed}.png")
    run(config)
    for seed in range(100, 170):
        picture(seed, 64, 48).save(images / f"{seed}.png")
    (images / "50.png").unlink()
    update = replace(config, update=config.output[0])
    old = Path(config.output[0]).parent
    before = content(old)
    command = [sys.executable, "-c", DYING, str(TESTS), call, str(number), repr(update)]
    died = subprocess.run(command, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    if call == "commit":
        left = {name: data for name, data in content(old).items() if ".run.new/" not in name}
        assert left == {**left, **before}
    assert (old / "out.json.run.new" / "plan.json").exists()
    with pytest.raises(UsageError, match="continue it with --resume"):
        run(update)
    run(replace(update, resume=True))
    assert results(old) == fresh(update, tmp_path / "fresh")
    assert not (old / "out.json.run.new").exists()
    assert len(RunFolder.reopen(str(old / "out.json.run")).plan.records) == 169
    summary, _ = run(update)  # and so it goes on
    assert (summary.detected, summary.update.reused) == (0, 169)


@pytest.mark.long
def test_a_resumed_update_detects_what_the_earlier_run_no_longer_has(grown, config, tmp_path):
    command = [sys.executable, "-c", DYING, str(TESTS), "commit", "1", repr(grown)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    shutil.rmtree(f"{config.output[0]}.run")
    summary, _ = run(replace(grown, resume=True))
    assert (summary.detected, summary.update) == (12, None)
    assert results(tmp_path / "new") == fresh(grown, tmp_path / "fresh")


def test_an_image_that_is_replaced_before_the_resume_is_detected(grown, images, tmp_path):
    command = [sys.executable, "-c", DYING, str(TESTS), "commit", "1", repr(grown)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    picture(95, 96, 40).save(images / "03.png")
    run(replace(grown, resume=True))
    assert results(tmp_path / "new") == fresh(grown, tmp_path / "fresh")


DIFFERENT = [
    ({"resize": 96}, "the network input differs: its run had resize 64, this one has resize 96"),
    ({"threshold": 0.5}, "what is kept differs: its run had threshold 0.05, this one has thresho"),
    ({"tile": 48}, "the network input differs: its run had tile None, this one has tile 48"),
    ({"batch": 3}, "the images in a launch (--batch) differs: its run had 2, this one has 3"),
    ({"threads_per_worker": 2}, "--threads-per-worker differs: its run had 1, this one has 2"),
    ({"only_classes": ("1",)}, "--thresholds or --only-classes differs"),
]


@pytest.mark.parametrize(("changes", "message"), DIFFERENT)
def test_other_settings_are_refused(grown, tmp_path, changes, message):
    before = content(tmp_path)
    with pytest.raises(UsageError) as caught:
        run(replace(grown, **changes))
    assert caught.value.sentence.startswith(f"cannot update {grown.update}: {message}")
    assert caught.value.hint == "use the same, or leave --update out to run all images"
    assert content(tmp_path) == before


def test_another_model_is_refused(grown, ranked):
    with pytest.raises(UsageError, match="the model differs: its run had"):
        run(replace(grown, model=str(ranked)))


def test_another_version_is_refused(grown, monkeypatch):
    monkeypatch.setattr(fingerprint, "__version__", "0.0.0")
    with pytest.raises(UsageError, match=r"a version differs: .* this one has odtk-ray 0\.0\.0"):
        run(grown)


def test_another_engine_is_refused_and_leaves_nothing(grown, tmp_path):
    class OtherEngine(PixelEngine):
        key = "other pixels"

    before = content(tmp_path)
    with pytest.raises(OdtkError, match=r"computes with other pixels, and .* is from pixels") as e:
        run(grown, OtherEngine)
    assert "the same kind of machine" in e.value.hint
    assert content(tmp_path) == before


def test_threads_and_a_measured_launch_are_those_of_the_earlier_run(grown):
    summary, _ = run(replace(grown, threads_per_worker=None, batch="auto"))
    assert summary.fleet.threads == 1
    assert RunFolder.reopen(grown.run_folder).plan.settings.launch_batch == 2


def without_run(config):
    shutil.rmtree(f"{config.output[0]}.run")


def without_stamps(config):
    os.unlink(f"{config.output[0]}.run/stamps.parquet")


def without_a_shard(config):
    min(Path(f"{config.output[0]}.run/shards").iterdir()).unlink()


@pytest.mark.parametrize(("spoil", "why"), [
    (without_run, "there is no run folder .*run, which a run leaves with --keep-run"),
    (without_stamps, "does not say what its images were"),
    (without_a_shard, "is not finished: 10 images are missing"),
])  # fmt: skip
def test_a_run_that_cannot_be_updated_is_refused(grown, config, tmp_path, spoil, why):
    spoil(config)
    before = content(tmp_path)
    for update in (grown, replace(config, update=config.output[0])):
        with pytest.raises(UsageError, match=why):
            run(update)
    assert content(tmp_path) == before


def test_what_cannot_be_asked_for_a_run_is_refused(grown):
    with pytest.raises(UsageError, match=r"cannot read --update foo://bar/out\.json: Protocol not"):
        run(replace(grown, update="foo://bar/out.json"))


def test_a_run_on_gpus_of_two_kinds_is_refused(grown, config):
    folder = f"{config.output[0]}.run"
    shutil.rmtree(folder)
    mixed = make_run(folder, list(range(40)), make_results(40))
    journal = Path(mixed.path, "commits.jsonl")
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text.replace('"test"', '"another"', 1), encoding="utf-8")
    shutil.copy(stamps_of(mixed), mixed.path)
    with pytest.raises(UsageError, match="are from another and test, which differ in the last b"):
        run(grown)


def stamps_of(made):
    folder = f"{made.path}-stamps"
    os.mkdir(folder)
    write_stamps(folder, ImageStamps(*np.zeros((4, len(made.plan.records)), np.int64)))
    return f"{folder}/stamps.parquet"


def test_no_output_replaces_what_is_updated(grown, config):
    for output in (config.output[0], f"{config.output[0]}.run/more.json"):
        with pytest.raises(UsageError, match="--update"):
            run(replace(grown, output=(grown.output[0], output)))
