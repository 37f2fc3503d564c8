"""Runs of an engine set on simulated nodes with several kinds of GPUs.

Plans, their choice and their checks are real; in place of TensorRT an engine says which file it
was given.
"""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from engines_for_tests import NamedEngine, PixelEngine
from machines_for_tests import A10G, ADA, H100, QUADRO, having, simulated, unable
from sessions import start_ray
from synthetic import Acting, Quiet, picture, tiny_model

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import SET_FILE, EngineSet, read_plan_and_sidecar
from odtk_ray.artifacts.plan_key import key_of
from odtk_ray.cli.program import cli
from odtk_ray.config import ExportConfig, InferConfig
from odtk_ray.engines.local_gpus import Machine
from odtk_ray.engines.tensorrt_package import import_tensorrt, package_version
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.exports.engine_set.build_on_node import build_into
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.tensorrt.export_plan import describe_built
from odtk_ray.exports.tensorrt.plan_source import plan_source
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage import object_stores

pytestmark = pytest.mark.cluster

SIZE = (64, 96)


@pytest.fixture(scope="module")
def plans(checkpoint, tmp_path_factory):
    """A set for H100 and A10G, and the keys of the two."""
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("sets") / "engines"
    folder.mkdir()
    config = ExportConfig(str(checkpoint), "", SIZE, dynamic_batch_opts=(2, 4, 8))
    source = plan_source(config, ImageLists(), Quiet())
    trt = package_version(import_tensorrt())
    keys = {}
    for gpu in (H100, A10G):
        about = describe_built(source.model, source.options, trt, gpu)
        machine = Machine((gpu,), trt)
        build_into(str(folder), about, "t", lambda _, m=machine: m, unable, source)
        keys[gpu] = key_of(about)
    engines = EngineSet.of(read_plan_and_sidecar(str(folder), key) for key in keys.values())
    (folder / SET_FILE).write_text(engines.to_json(), encoding="utf-8")
    return folder, keys


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """320 small pictures: ten shards."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(320):
        picture(seed % 40, 40, 32).save(folder / f"{seed:03d}.png")
    return folder


@pytest.fixture
def config(cluster, plans, images, tmp_path):
    return InferConfig(
        str(plans[0]),
        images=str(images),
        output=(str(tmp_path / "out.json"),),
        batch=8,
        threads_per_worker=1,
        address=cluster.address,
        keep_run=True,
    )


@pytest.fixture
def signs(tmp_path):
    """Where each process that detects leaves a file."""
    folder = tmp_path / "signs"
    folder.mkdir()
    return folder


def run(config, report, signs, count=1):
    """A run that goes on when so many files are among the signs."""
    return infer(config, report, functools.partial(NamedEngine, str(signs), count), simulated)


def without_small_input(report):
    """The warnings but the one that the plans' input is small, which is a single text."""
    small = [text for text in report.warnings if "has a small input" in text]
    assert len(small) == 1
    return [text for text in report.warnings if text not in small]


def makers(config):
    """The files that made the shards of a finished run."""
    folder = RunFolder.reopen(config.run_folder)
    folder.take_over()
    assert folder.images_done == len(folder.plan.records)
    return {receipt.engine for receipt in folder.committed.values()}


@pytest.fixture(scope="module")
def by_cpu(head, checkpoint, images, tmp_path_factory):
    """What a CPU worker on this machine finds in the same pictures, fitted into the plans' size."""
    start_ray(head)
    fitted = InferConfig(
        str(checkpoint),
        images=str(images),
        output=(str(tmp_path_factory.mktemp("cpu") / "out.json"),),
        threads_per_worker=1,
        fit=SIZE,
    )
    infer(fitted, Quiet(), PixelEngine)
    return json.loads(Path(fitted.output[0]).read_text(encoding="utf-8"))


def test_each_gpu_runs_its_own_plan_and_others_are_left_out(
    by_cpu, cluster, config, plans, signs, quiet
):
    cluster.add(kind="H100", **having(H100))
    cluster.add(kind="A10G", **having(A10G))
    cluster.add(kind="RTX-6000", gpus=2, **having(ADA, ADA))
    summary = run(config, quiet, signs, 2)
    assert (summary.images, summary.failed, summary.fleet.workers) == (320, 0, 2)
    assert makers(config) == {f"{key}.plan" for key in plans[1].values()}
    (warning,) = without_small_input(quiet)
    assert warning.startswith(
        f"2 GPUs left out: {plans[0]} has no plan for {ADA} with tensorrt_rtx"
    )
    assert f"--gpu-type '{ADA.name}' builds it" in warning
    assert json.loads(Path(config.output[0]).read_text(encoding="utf-8")) == by_cpu


@pytest.mark.long
def test_a_node_with_two_kinds_of_gpus(cluster, config, plans, signs, quiet):
    """Each worker finds its own plan; a node is left out where Ray could give the wrong GPU."""
    cluster.add(kind="H100", gpus=2, **having(H100, A10G))
    cluster.add(kind="H100", gpus=2, **having(H100, ADA))
    summary = run(config, quiet, signs, 2)
    assert summary.fleet.workers == 2
    assert makers(config) == {f"{key}.plan" for key in plans[1].values()}
    (warning,) = without_small_input(quiet)
    assert f"has {H100}, {ADA}, and Ray does not say which" in warning
    assert warning.endswith(f"; {ADA} has no plan")


@pytest.mark.long
def test_the_fallback_runs_where_there_is_no_plan(cluster, config, plans, checkpoint, signs, quiet):
    cluster.add(kind="H100", **having(H100))
    cluster.add(kind="RTX-6000", **having(ADA))
    run(replace(config, fallback=str(checkpoint)), quiet, signs, 2)
    assert makers(config) == {f"{plans[1][H100]}.plan", checkpoint.name}
    assert without_small_input(quiet) == []


@pytest.mark.long
def test_types_restrict_a_run_and_a_type_that_is_absent_is_refused(
    cluster, config, plans, signs, quiet
):
    cluster.add(kind="H100", **having(H100))
    cluster.add(kind="A10G", **having(A10G))
    with pytest.raises(UsageError, match="no node has a GPU of type L4: there are A10G: NVIDIA"):
        run(replace(config, gpu_type=("L4", "H100")), quiet, signs)
    assert not Path(config.run_folder).exists()
    run(replace(config, gpu_type=("A10G",)), quiet, signs)
    assert makers(config) == {f"{plans[1][A10G]}.plan"}
    assert without_small_input(quiet) == []


class Joining(Acting):
    """Adds nodes when the first images are done; a file says that one was left out."""

    def __init__(self, add, signs):
        super().__init__(add)
        self._signs = signs

    def warn(self, text, hint=""):
        super().warn(text, hint)
        if "left out" in text:
            (self._signs / "warned").touch()


def test_nodes_join_with_a_plan_and_without(cluster, config, plans, signs):
    cluster.add(kind="H100", **having(H100))

    def join():
        cluster.add(kind="RTX-6000", **having(QUADRO))
        cluster.add(kind="A10G", **having(A10G))

    report = Joining(join, signs)
    summary = run(config, report, signs, 3)
    assert summary.failed == 0
    assert makers(config) == {f"{key}.plan" for key in plans[1].values()}
    (warning,) = without_small_input(report)
    assert f") is left out: {plans[0]} has no plan for {QUADRO}" in warning


@pytest.mark.long
def test_a_node_of_another_type_that_joins_is_left_alone(cluster, config, plans, signs):
    cluster.add(kind="H100", **having(H100))
    report = Joining(lambda: cluster.add(kind="A10G", **having(A10G)), signs)
    run(replace(config, gpu_type=("H100",)), report, signs, 2)
    assert makers(config) == {f"{plans[1][H100]}.plan"}
    (warning,) = without_small_input(report)
    assert f"{A10G}: --gpu-type is H100" in warning


@pytest.mark.long
def test_a_node_whose_plan_is_damaged_ends_the_run(cluster, config, plans, signs, tmp_path, quiet):
    cluster.add(kind="H100", **having(H100))
    folder = tmp_path / "engines"
    folder.mkdir()
    for path in plans[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    plan = folder / f"{plans[1][H100]}.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    with pytest.raises(OdtkError, match="bytes and should have"):
        run(replace(config, model=str(folder)), quiet, signs)


def interrupt(config, reporter, signs, monkeypatch):
    """A run that is interrupted behind its first commit."""
    commit = RunFolder.commit

    def die_after_one(self, *receipts):
        commit(self, *receipts)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "commit", die_after_one)
    with pytest.raises(KeyboardInterrupt):
        run(config, reporter, signs)
    monkeypatch.setattr(RunFolder, "commit", commit)


def test_a_run_is_resumed_with_the_same_set_only(
    cluster, config, plans, signs, tmp_path, monkeypatch
):
    cluster.add(kind="H100", **having(H100))
    cluster.add(kind="A10G", **having(A10G))
    interrupt(config, Quiet(), signs, monkeypatch)
    smaller = tmp_path / "engines"
    smaller.mkdir()
    about = read_plan_and_sidecar(str(plans[0]), plans[1][H100])
    (smaller / SET_FILE).write_text(EngineSet.of([about]).to_json(), encoding="utf-8")
    resumed = replace(config, resume=True)
    with pytest.raises(UsageError, match="model differs"):
        run(replace(resumed, model=str(smaller)), Quiet(), signs)
    summary = run(replace(resumed, gpu_type=("A10G",)), Quiet(), signs)
    assert 0 < summary.detected < 320
    assert f"{plans[1][A10G]}.plan" in makers(config)


@pytest.fixture
def with_fp32(plans, checkpoint, tmp_path):
    """That set with a plan in FP32 for the H100, and the key of this one."""
    folder = Path(shutil.copytree(plans[0], tmp_path / "engines"))
    config = ExportConfig(str(checkpoint), "", SIZE, full_precision=True)
    source = plan_source(config, ImageLists(), Quiet())
    trt = package_version(import_tensorrt())
    about = describe_built(source.model, source.options, trt, H100)
    build_into(str(folder), about, "t", lambda _: Machine((H100,), trt), unable, source)
    keys = [*plans[1].values(), key_of(about)]
    engines = EngineSet.of(read_plan_and_sidecar(str(folder), key) for key in keys)
    (folder / SET_FILE).write_text(engines.to_json(), encoding="utf-8")
    return folder, key_of(about)


def test_a_run_has_one_precision_and_is_resumed_with_it(
    cluster, config, plans, with_fp32, signs, monkeypatch, quiet
):
    cluster.add(kind="H100", **having(H100))
    folder, key = with_fp32
    config = replace(config, model=str(folder), precision="fp32")
    interrupt(config, quiet, signs, monkeypatch)
    (note,) = [text for text in quiet.notes if "running its plans" in text]
    assert note == f"{folder}: running its plans of 64x96 FP32 (it also has 64x96 FP16)"
    resumed = replace(config, resume=True)
    with pytest.raises(UsageError, match="model differs") as error:
        run(replace(resumed, precision=None), Quiet(), signs)
    assert "with the same --precision and --fit" in error.value.hint
    run(resumed, Quiet(), signs)
    assert makers(config) == {f"{key}.plan"}


@pytest.mark.long
def test_a_set_in_a_bucket(s3, cluster, config, plans, signs, quiet):
    cluster.add(kind="H100", **having(H100))
    for path in plans[0].iterdir():
        object_stores.put(f"{s3.url}/engines/{path.name}", path.read_bytes())
    run(replace(config, model=f"{s3.url}/engines"), quiet, signs)
    assert makers(config) == {f"{plans[1][H100]}.plan"}
    assert storage.exists(f"{s3.url}/engines/{SET_FILE}")


def test_gpus_without_any_plan_and_no_gpus_are_refused(cluster, config, signs, quiet):
    with pytest.raises(UsageError, match=r"cannot run .* here: no live node has a GPU"):
        run(config, quiet, signs)
    with pytest.raises(UsageError, match="no node has a GPU: none of the live nodes has one"):
        run(replace(config, gpu_type=("all",)), quiet, signs)
    with pytest.raises(UsageError, match="no node has a GPU: none of the live nodes has one"):
        run(replace(config, gpu_type=("all",), wait_for_nodes=0.5), quiet, signs)
    assert quiet.notes[-1] == "waiting for a node with any GPU (0 s at most)"
    cluster.add(**having(ADA))
    with pytest.raises(UsageError, match="here: no node has a GPU that it could run on"):
        run(config, quiet, signs)
    assert not Path(config.run_folder).exists()


@pytest.mark.long
def test_a_mixed_fleet_is_asked_also_for_a_checkpoint(cluster, config, checkpoint, quiet):
    """Ray's types differ, so that each kind is looked at; nothing is left out."""
    cluster.add(kind="H100", **having(H100))
    cluster.add(kind="A10G", **having(A10G))
    config = replace(config, model=str(checkpoint), fit=SIZE)
    summary = infer(config, quiet, PixelEngine, simulated)
    assert (summary.fleet.workers, summary.failed) == (2, 0)
    assert quiet.warnings == []


def infer_cli(plans, images, *flags):
    arguments = ["infer", plans[0], "--images", images, *flags]
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_wrong_usage_of_a_set(plans, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tiny_model(tmp_path / "other.pth", seed=9)
    (tmp_path / "empty").mkdir()
    for flags, message in (
        (["--fallback", other], "other.pth is not the model of"),
        (["--fallback", "none.pth"], "none.pth"),
        (["--fit", "64", "64"], "--fit contradicts engines"),
        (["--full-precision"], "--full-precision contradicts engines"),
        (["--precision", "int8"], "--precision contradicts engines: its plans are 64x96 FP16"),
        (["--resize", "800"], "--resize contradicts engines: its plans are 64x96 FP16"),
        (["--rotated-bbox"], "--rotated-bbox does not fit engines"),
        (["--wait-for-nodes", "3"], "--wait-for-nodes needs --gpu-type"),
    ):
        outcome = infer_cli(plans, images, *flags)
        assert outcome.exit_code == 2, outcome.output
        assert message in outcome.output
    outcome = infer_cli([tmp_path / "empty"], images)
    assert outcome.exit_code == 2
    assert "cannot use engine set" in outcome.output
    assert "--gpu-type all" in outcome.output
    outcome = infer_cli([other], images, "--fallback", other)
    assert outcome.exit_code == 2
    assert "--fallback needs an engine set" in outcome.output
    outcome = infer_cli([other], images, "--precision", "fp16")
    assert outcome.exit_code == 2
    assert "--precision needs an engine set" in outcome.output
