"""Engine sets, built for real by TensorRT for RTX on simulated nodes of several kinds of GPUs."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from effort import long_case
from machines_for_tests import A10G, ADA, H100, QUADRO, having, simulated
from sessions import simulated_cluster
from standins_for_tests import spoil, standing_in
from synthetic import tiny_model

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import is_engine_set, read_engine_set
from odtk_ray.artifacts.plan_key import Variant, machine_key
from odtk_ray.artifacts.sidecar import check_sidecar, read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.engines.tensorrt_package import import_tensorrt, package_version
from odtk_ray.exports.check.check_export import Unavailable
from odtk_ray.exports.engine_set import export_set as module
from odtk_ray.storage import object_stores


@pytest.fixture(scope="module")
def fleet(head):
    """Four nodes with four GPUs, two of which Ray takes for one type."""
    pytest.importorskip("tensorrt_rtx")
    with simulated_cluster(head) as made:
        made.add(kind="H100", **having(H100))
        made.add(kind="A10G", **having(A10G))
        made.add(kind="RTX-6000", **having(ADA))
        made.add(kind="RTX-6000", **having(QUADRO))
        yield made


@pytest.fixture
def export(fleet, checkpoint, monkeypatch):
    """`odtk-ray export` to a set, on those nodes."""
    real = module.export_set

    def run(folder, *flags, model=checkpoint, code=0, **means):
        on_nodes = functools.partial(real, inspect=simulated, **means)
        monkeypatch.setattr(module, "export_set", on_nodes)
        arguments = ["export", model, folder, "--address", fleet.address, *flags]
        if "--size" not in flags and not str(model).endswith(".onnx"):
            arguments += ["--size", 64, 96]
        outcome = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        assert outcome.exit_code == code, outcome.output
        return outcome.output

    return run


def states(output):
    """State of each plan, by the beginning of its key."""
    lines = re.findall(r"^(built|kept|failed) +(\S+?)_", output, re.MULTILINE)
    return {name: state for state, name in lines}


@pytest.fixture(scope="module")
def built(fleet, checkpoint, tmp_path_factory):
    """A set for all four, and what its export said."""
    folder = tmp_path_factory.mktemp("sets") / "engines"
    with pytest.MonkeyPatch.context() as patch:
        with_detect = functools.partial(module.export_set, inspect=simulated)
        patch.setattr(module, "export_set", with_detect)
        flags = ["--gpu-type", "all", "--size", "64", "96", "--address", fleet.address]
        outcome = CliRunner().invoke(cli, ["export", str(checkpoint), str(folder), *flags])
    assert outcome.exit_code == 0, outcome.output
    return folder, outcome.output


ALL = ("NVIDIA-A10G", "NVIDIA-H100-80GB-HBM3", "NVIDIA-RTX-6000-Ada-Generation", "Quadro-RTX-6000")


@pytest.mark.cluster
def test_every_kind_of_gpu_gets_a_plan(built):
    folder, output = built
    assert states(output) == dict.fromkeys(ALL, "built")
    assert output.count("not run here: ") == 4
    assert "tuned for single images; for throughput: --dynamic-batch-opts 1 8 16" in output
    assert f"{folder} has 4 plans: ResNet18FPN, 64x96 FP16" in output
    assert output.splitlines()[-1] == f"next: odtk-ray infer {folder} --images DIR"
    engines = read_engine_set(str(folder))
    names = {f"{key}.{kind}" for key in engines.engines for kind in ("plan", "plan.json")}
    found = set(os.listdir(folder))
    timings = {name for name in found if name.endswith(".timing")}
    assert found == names | timings | {"engines.json"}
    machines = {machine_key(about) for about in engines.engines.values()}
    assert {name.rpartition("_")[0] for name in timings} == machines
    assert len(timings) == len(machines) == 4
    for found, about in engines.engines.items():
        assert read_sidecar(str(folder / f"{found}.plan")) == about
        assert about.tensorrt.startswith("tensorrt_rtx ")
    assert {about.gpu for about in engines.engines.values()} == {H100, A10G, ADA, QUADRO}
    assert len({about.model.sha256 for about in engines.engines.values()}) == 1


@pytest.mark.cluster
def test_info_has_a_row_for_each_plan(built):
    outcome = CliRunner().invoke(cli, ["info", str(built[0])])
    assert outcome.exit_code == 0
    rows = [line.split(maxsplit=1) for line in outcome.output.splitlines()]
    plans = [text for name, text in rows if name == "plan"]
    assert [text.split("_")[0] for text in plans] == list(ALL)
    assert "NVIDIA A10G 8.6, tensorrt_rtx" in plans[0]
    assert "batch 1 to 16, tuned for 1" in plans[0]
    table = outcome.output.splitlines()[-5:]
    assert table[0].split()[:4] == ["measured", "GPU", "TensorRT", "precision"]
    for gpu, line in zip((A10G, H100, ADA, QUADRO), table[1:], strict=True):
        assert re.fullmatch(rf" +{re.escape(str(gpu))} +\S+ \S+ +fp16 +64x96 +\d+ +- +- +-", line)
    start = table[0].index("GPU")
    assert [line[start:] for line in table] == built[1].splitlines()[-7:-2]


@pytest.fixture
def copied(built, tmp_path):
    """A copy of that set."""
    return Path(shutil.copytree(built[0], tmp_path / "engines"))


@pytest.mark.cluster
def test_a_rerun_builds_only_what_is_missing_or_damaged(copied, export):
    before = {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}
    output = export(copied, "--gpu-type", "all")
    assert states(output) == dict.fromkeys(ALL, "kept")
    assert {path.name: path.stat().st_mtime_ns for path in copied.iterdir()} == before

    paths = sorted(copied.glob("*.plan"))
    os.unlink(paths[0])
    content = bytearray(paths[1].read_bytes())
    content[-1] ^= 1
    paths[1].write_bytes(content)
    os.unlink(f"{paths[2]}.json")
    (copied / "engines.json").write_text("{", encoding="utf-8")
    output = export(copied, "--gpu-type", "all")
    assert states(output) == dict(zip(ALL, ("built", "built", "built", "kept"), strict=True))
    assert "engines.json is written again: engines.json is damaged" in output
    for found, about in read_engine_set(str(copied)).engines.items():
        assert read_sidecar(str(copied / f"{found}.plan")) == about


@pytest.mark.cluster
def test_a_type_that_is_missing_fails_alone(copied, export):
    output = export(copied, "--gpu-type", "B200", "--gpu-type", "A10G", code=3)
    assert "warning: no node has a GPU of type B200: the others are built" in output
    line = "failed  B200: no live node has such a GPU; --wait-for-nodes SECONDS waits for"
    assert output.count(line) == 1
    assert states(output) == {"NVIDIA-A10G": "kept"}
    assert len(read_engine_set(str(copied)).engines) == 4


@pytest.mark.cluster
def test_no_type_at_all_is_a_failure_that_writes_nothing(export, tmp_path):
    output = export(tmp_path / "set", "--gpu-type", "B200", "--gpu-type", "T4", code=1)
    assert "no node has a GPU of type B200, T4: there are A10G: NVIDIA A10G (8.6); H10" in output
    assert os.listdir(tmp_path) == []


@pytest.mark.long
@pytest.mark.cluster
def test_other_gpus_stay_listed_as_long_as_they_fit(copied, export, tmp_path):
    assert states(export(copied, "--gpu-type", H100.name)) == {"NVIDIA-H100-80GB-HBM3": "kept"}
    assert len(read_engine_set(str(copied)).engines) == 4
    # The same key, and another plan: those of the others do not go with it.
    other = tiny_model(tmp_path / "other.pth", seed=8)
    output = export(copied, "--gpu-type", "H100", model=other)
    assert states(output) == {"NVIDIA-H100-80GB-HBM3": "built"}
    assert output.count("no longer listed: ") == 3
    assert {about.gpu for about in read_engine_set(str(copied)).engines.values()} == {H100}
    # What lies there still counts.
    output = export(copied, "--gpu-type", "all")
    assert states(output) == dict(zip(ALL, ("kept", "built", "kept", "kept"), strict=True))
    assert len(read_engine_set(str(copied)).engines) == 4


@pytest.mark.long
@pytest.mark.cluster
def test_precisions_lie_beside_each_other(copied, export):
    output = export(copied, "--gpu-type", "A10G", "--full-precision")
    assert "no longer listed" not in output
    engines = read_engine_set(str(copied))
    assert len(engines.engines) == 5
    (about,) = engines.only(Variant("fp32", (64, 96))).engines.values()
    assert about.gpu == A10G
    # Those of other settings do not stay.
    output = export(copied, "--gpu-type", "A10G", "--workspace", "64")
    assert output.count("no longer listed: ") == 4
    assert len(read_engine_set(str(copied)).engines) == 1


@pytest.mark.cluster
def test_several_sizes_and_precisions_in_one_command(export, tmp_path):
    sizes = ("--size", 64, 96, "--size", 64)
    asked = ("--precision", "fp16", "--precision", "fp32")
    output = export(tmp_path / "engines", "--gpu-type", "A10G", *sizes, *asked)
    assert len(re.findall("^built ", output, re.MULTILINE)) == 4
    assert "has 4 plans: ResNet18FPN, 64x64 FP16, 64x96 FP16, 64x64 FP32, 64x96 FP32" in output
    engines = read_engine_set(str(tmp_path / "engines"))
    for name in ("fp16", "fp32"):
        for size in ((64, 64), (64, 96)):
            (about,) = engines.only(Variant(name, size)).engines.values()
            assert (about.gpu, about.model.precision, about.model.size) == (A10G, name, size)
    # Another size is added.
    output = export(tmp_path / "engines", "--gpu-type", "H100", "--size", 96)
    assert "no longer listed" not in output
    added = read_engine_set(str(tmp_path / "engines"))
    assert {variant.size for variant in added.variants} == {(64, 64), (64, 96), (96, 96)}
    assert len(added.engines) == 5


@pytest.mark.long
@pytest.mark.cluster
def test_one_calibration_serves_all_and_is_kept(export, checkpoint, photos, tmp_path):
    folder = tmp_path / "engines"
    types = ("--gpu-type", "A10G", "--gpu-type", "H100", "--int8")
    output = export(folder, *types, code=2)
    table = folder / "calibration_64x96.json"
    assert f"there is no calibration table {table}" in output
    # The calibration itself would run on the nodes' GPUs, which are simulated.
    calibration = ["--int8", "--calibration-images", photos, "--calibration-batches", 1,
                   "--calibration-method", "max", "--calibration-table", table]  # fmt: skip
    arguments = ["export", checkpoint, tmp_path / "m.onnx", "--size", 64, 96, *calibration]
    outcome = CliRunner().invoke(cli, list(map(str, arguments)))
    assert outcome.exit_code == 0, outcome.output
    output = export(folder, *types)
    assert f"using the ranges of {table}" in output
    engines = list(read_engine_set(str(folder)).engines.values())
    assert [about.model.precision for about in engines] == ["int8"] * 2
    expected = hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()
    assert [about.model.sha256 for about in engines] == [expected] * 2
    content = json.loads(table.read_text(encoding="utf-8"))
    content["amax"] = {name: 2 * value for name, value in content["amax"].items()}
    table.write_text(json.dumps(content), encoding="utf-8")
    assert set(states(export(folder, *types)).values()) == {"built"}


@pytest.mark.long
@pytest.mark.cluster
def test_a_set_in_a_bucket(export, checkpoint, s3):
    object_stores.upload(str(checkpoint), f"{s3.url}/model.pth")
    flags = ("--gpu-type", "A10G", "--gpu-type", "H100")
    folder = f"{s3.url}/engines"
    assert not is_engine_set(folder)
    output = export(f"{folder}/", *flags, model=f"{s3.url}/model.pth")
    assert set(states(output).values()) == {"built"}
    assert is_engine_set(folder)
    engines = read_engine_set(folder).engines
    assert len(engines) == 2
    for found, about in engines.items():
        plan, beside = (storage.read_bytes(f"{folder}/{found}.plan{end}") for end in ("", ".json"))
        assert check_sidecar(found, plan, beside) == about
    output = export(folder, *flags, model=f"{s3.url}/model.pth")
    assert set(states(output).values()) == {"kept"}
    kinds = {name.rpartition(".")[2] for name in storage.list_files(folder, recursive=True).names}
    assert kinds == {"plan", "json", "timing"}
    outcome = CliRunner().invoke(cli, ["info", folder])
    assert outcome.output.count("\nplan ") == 2


@pytest.mark.long
@pytest.mark.cluster
def test_a_set_of_an_onnx_file_is_that_of_its_checkpoint(built, export, graph, tmp_path):
    export(tmp_path / "engines", "--gpu-type", "A10G", model=graph)
    found, expected = (read_engine_set(str(path)) for path in (tmp_path / "engines", built[0]))
    trt = package_version(import_tensorrt())
    (key,) = found.engines
    assert key == found.find(A10G, trt)
    assert found.engines[key].identity == expected.engines[key].identity


@pytest.mark.long
@pytest.mark.cluster
def test_a_set_of_a_half_file_is_in_fp16(export, checkpoint, tmp_path):
    arguments = ["export", checkpoint, tmp_path / "half.onnx", "--size", 64, 96, "--half"]
    assert CliRunner().invoke(cli, [str(a) for a in arguments]).exit_code == 0
    output = export(tmp_path / "engines", "--gpu-type", "A10G", model=tmp_path / "half.onnx")
    assert "78 convolutions: 78 FP16" in output
    (about,) = read_engine_set(str(tmp_path / "engines")).engines.values()
    assert about.model.precision == "fp16"


def running(graph):
    """Plans run: the H100's as it should, the A10G's badly, and the Ada has no room for its own."""

    @contextmanager
    def open_built(path, about, batch):
        if about.gpu == ADA:
            raise Unavailable("the GPU's memory is too small")
        change = (spoil,) if about.gpu == A10G else ()
        with standing_in(graph, *change)(path, about, batch) as plan:
            yield plan

    return open_built


TYPES = ("--gpu-type", "H100", "--gpu-type", "A10G", "--gpu-type", ADA.name)


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["PyTorch", long_case("ONNX Runtime")])
def test_each_plan_is_checked_where_it_was_built(
    export, checkpoint, graph, photos, find_truth, tmp_path, name
):
    model = checkpoint if name == "PyTorch" else graph
    truth = find_truth(checkpoint, (64, 96))
    output = export(tmp_path / "set", *TYPES, "--check-images", photos,
                    "--calibration-annotations", truth, model=model,
                    open_built=running(graph))  # fmt: skip
    found = {}
    for line in output.splitlines():
        if match := re.match(r"built +(\S+?)_", line):
            lines = found.setdefault(match[1], [])
        elif line.startswith("        "):
            lines.append(line.strip())
    good, bad, none = (found[gpu.name.replace(" ", "-")] for gpu in (H100, A10G, ADA))
    assert none == ["78 convolutions: 78 FP16", "not run here: the GPU's memory is too small"]
    assert good[0] == "layers by precision: 1 FP16; 1 convolution: 1 FP16; 1 reformat"
    same = re.fullmatch(
        rf"checked against {name} on 4 pictures: scores within \S+, box deltas within \S+, "
        r"(\d+) of (\d+) detections matched", good[1])  # fmt: skip
    assert 0.97 * int(same[2]) < int(same[1])  # the two round differently
    assert int(same[2]) > 20
    ap, reference = re.match(rf"AP on 8 annotated images: (\S+), {name} (\S+) ", good[2]).groups()
    assert float(ap) == pytest.approx(float(reference), abs=5e-3) != 0
    assert bad[1].startswith(f"checked against {name} on 4 pictures: ")
    assert re.search(r"^warning: NVIDIA-A10G_\S+: AP falls by", output, re.MULTILINE)
    assert output.count("warning: ") == 1
    assert "the images fill" in output
    engines = read_engine_set(str(tmp_path / "set"))
    assert len(engines.engines) == 3
    figures = {engines.engines[key].gpu: found for key, found in engines.figures.items()}
    assert figures[H100].matched == int(same[1]) / int(same[2])
    assert figures[H100].ap == pytest.approx(float(ap), abs=1e-4)
    assert figures[H100].reference_ap == pytest.approx(float(reference), abs=1e-4)
    assert (figures[ADA].images_per_second, figures[ADA].matched, figures[ADA].ap) == (None,) * 3
    assert figures[A10G].images_per_second > 0
    (line,) = re.findall(r"^NVIDIA H100 80GB HBM3 \(9.0\) .*", output, re.MULTILINE)
    assert line.split()[-1] == f"{figures[H100].ap:.4f}"
    # What is kept keeps them.
    again = export(tmp_path / "set", *TYPES, "--check-images", photos,
                   "--calibration-annotations", truth, model=model)  # fmt: skip
    assert line in again
    assert read_engine_set(str(tmp_path / "set")).figures == engines.figures


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["set.plan", "--gpu-type", "A10G"], "makes a folder of plans, and set.plan is the name"),
        (["file", "--gpu-type", "A10G"], "cannot write file: it is a file"),
        (["no/set", "--gpu-type", "A10G"], "there is no"),
        (["set", "--gpu-type", "A10G", "--with-postprocess"], "--with-postprocess does not go"),
        (["set", "--gpu-type", "A10G", "--timing-cache", "x"], "--timing-cache does not go"),
        (["set", "--gpu-type", "A10G", "--compute-capability", "8.9"], "--compute-capability"),
        (["set"], "--gpu-type all makes a folder of plans"),
        (["set.onnx", "--wait-for-nodes", "5"], "--wait-for-nodes needs --gpu-type"),
    ],
)
def test_refusals_write_nothing(export, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert message in export(*flags, code=2)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.cluster
def test_a_job_has_no_place_for_a_relative_set(export, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    output = export("set", "--gpu-type", "A10G", code=2)
    assert "a job's working directory is deleted" in output


def test_sets_are_built_and_read_without_torch():
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'onnx'): sys.modules[name] = None\n"
        "import odtk_ray.model.describe_model, odtk_ray.engines.loader\n"
        "import odtk_ray.exports.engine_set.export_set, odtk_ray.run.pipeline"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
