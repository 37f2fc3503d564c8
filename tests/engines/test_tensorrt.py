"""Everything about running plans that needs no GPU; tests/gpu runs them."""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from blocked_packages import Blocking
from click.testing import CliRunner
from synthetic import ABOUT

import cuda_ops
from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.artifacts.sidecar import Sidecar, check_machine, read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.engines.launches import Launches
from odtk_ray.engines.loaded_plan import check_engine
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.settings import Postprocessing

GPU = ("NVIDIA H100", "9.0")
ABOUT_PLAN = Sidecar(
    model=replace(ABOUT, precision="fp16"), batches=(1, 4, 8), tensorrt="tensorrt 8.6.0",
    gpu=GPU, capabilities=(),
)  # fmt: skip
WITHOUT_TORCH = ("torch", "torchvision", "onnx")

# A whole run of a plan, its network replaced.
RUN_PLAN = """
import json, sys
import odtk_ray.run.plan_run as planning
from engines_for_tests import PixelEngine
from odtk_ray.config import InferConfig
from odtk_ray.run.pipeline import infer
from synthetic import Quiet
plan, images, output, more = sys.argv[1:]
planning.limit_to_tensorrt_plan = lambda config, batches, wanted, *_: wanted
config = InferConfig(plan, images, output=(output,), threads_per_worker=1, **json.loads(more))
summary = infer(config, Quiet(), PixelEngine)
print(summary.images, summary.failed)
"""


def odtk_ray(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def files(checkpoint, rotated_checkpoint, tmp_path_factory):
    """The tiny model as m.onnx, and as m.plan for a GPU that is not here; a rotated one."""
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("plan")
    for arguments in (
        (checkpoint, folder / "m.onnx", "--size", 64, 96),
        (rotated_checkpoint, folder / "turned.onnx", "--size", 64, 96),
        (folder / "m.onnx", folder / "m.plan", "--compute-capability", "8.9",
         "--dynamic-batch-opts", 2, 4, 4),
    ):  # fmt: skip
        outcome = odtk_ray("export", *arguments)
        assert outcome.exit_code == 0, outcome.output
    return folder


def test_a_plan_needs_a_gpu(runs, files, photos, tmp_path):
    outcome = odtk_ray("infer", files / "m.plan", "--images", photos, "--workers", 1,
                       "--output", tmp_path / "d.json")  # fmt: skip
    assert outcome.exit_code == 2, outcome.output
    assert "m.plan needs a GPU" in outcome.output
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "flags",
    [["--resize", "100"], ["--max-size", "100"], ["--fit", "64", "64"], ["--full-precision"]],
)
def test_a_flag_that_contradicts_the_plan_is_refused(files, photos, flags):
    outcome = odtk_ray("infer", files / "m.plan", "--images", photos, *flags)
    assert outcome.exit_code == 2, outcome.output
    assert f"{flags[0]} contradicts m.plan: it was exported for 64x96 in FP16" in outcome.output


def test_a_plan_without_its_sidecar_is_refused(files, photos, tmp_path):
    (tmp_path / "m.plan").write_bytes((files / "m.plan").read_bytes())
    outcome = odtk_ray("infer", tmp_path / "m.plan", "--images", photos)
    assert outcome.exit_code == 2
    assert "m.plan.json: No such file" in outcome.output
    assert "odtk-ray export MODEL OUTPUT.plan" in outcome.output


def test_every_worker_runs_the_drivers_plan(files):
    plan = str(files / "m.plan")
    sha256 = read_sidecar(plan).plan_sha256
    assert read_sidecar(plan, sha256).batches == (2, 4, 4)
    with pytest.raises(UsageError, match="this run's is 000000000000"):
        read_sidecar(plan, "0" * 64)


@pytest.mark.parametrize(
    ("about", "tensorrt", "gpu", "why"),
    [
        (ABOUT_PLAN, "tensorrt 8.6.0", GPU, None),
        (ABOUT_PLAN, "tensorrt 8.6.0.12", GPU, None),
        (replace(ABOUT_PLAN, tensorrt="tensorrt 8.6.0.12"), "tensorrt 8.6.0", GPU, None),
        (replace(ABOUT_PLAN, tensorrt="tensorrt 8.6.0.12"), "tensorrt 8.6.0.13", GPU, None),
        (ABOUT_PLAN, "tensorrt 8.6.1", GPU,
         "built by tensorrt 8.6.0 and this machine has tensorrt 8.6.1"),
        (ABOUT_PLAN, "tensorrt_rtx 8.6.0", GPU,
         "built by tensorrt 8.6.0 and this machine has tensorrt_rtx 8.6.0"),
        (ABOUT_PLAN, "tensorrt 10.3.0", GPU,
         "built by tensorrt 8.6.0 and this machine has tensorrt 10.3.0"),
        (ABOUT_PLAN, "tensorrt 8.6.0", ("NVIDIA H200", "9.0"),
         "built on NVIDIA H100 9.0 and this machine has NVIDIA H200 9.0"),
        (replace(ABOUT_PLAN, gpu=None, capabilities=("8.0", "8.9")), "tensorrt 8.6.0", GPU,
         "built for 8.0, 8.9 and this machine has NVIDIA H100 9.0"),
        (replace(ABOUT_PLAN, gpu=None, capabilities=("9.0",)), "tensorrt 8.6.0", GPU, None),
    ],
)  # fmt: skip
def test_plans_of_other_machines_are_refused(about, tensorrt, gpu, why):
    if why is None:
        check_machine("m.plan", about, tensorrt, gpu)
        return
    with pytest.raises(UsageError, match=why) as caught:
        check_machine("m.plan", about, tensorrt, gpu)
    command = "odtk-ray export MODEL.pth m.plan --size 64 96 --dynamic-batch-opts 1 4 8"
    assert command in caught.value.hint


def test_the_command_that_rebuilds_names_the_precision():
    for precision, flags in (("fp32", "--full-precision"), ("int8", "--int8 --calibration-table")):
        about = replace(ABOUT_PLAN, model=replace(ABOUT, precision=precision))
        with pytest.raises(UsageError) as caught:
            check_machine("m.plan", about, "tensorrt 9", GPU)
        assert f"--size 64 96 {flags}" in caught.value.hint


def test_the_command_that_rebuilds_has_all_that_was_asked_for():
    model = replace(ABOUT, post=Postprocessing(threshold=0.3, detections=7), precision="fp16")
    about = replace(ABOUT_PLAN, model=model, workspace=64 << 20,
                    gpu=None, capabilities=("8.0", "8.9"))  # fmt: skip
    with pytest.raises(UsageError) as caught:
        check_machine("my m.plan", about, "tensorrt 9", GPU)
    assert caught.value.hint == (
        "build it here: odtk-ray export MODEL.pth 'my m.plan' --size 64 96 "
        "--dynamic-batch-opts 1 4 8 --workspace 64 --compute-capability 8.0 "
        "--compute-capability 8.9 --threshold 0.3 --detections 7"
    )


class Engine:
    """What is asked of an ICudaEngine; test_tensorrt_api.py sees that the real one has it."""

    def __init__(self, name, names, dtype="float"):
        self.name, self._names, self._dtype = name, names, dtype
        self.num_io_tensors = len(names)

    def get_tensor_name(self, i):
        return self._names[i]

    def get_tensor_dtype(self, name):
        return self._dtype


class Trt:
    float32 = "float"
    int32 = "int"


def test_a_plan_of_something_else_is_refused():
    names = ["input_1", *ABOUT.output_names]
    good = ABOUT_PLAN.identity
    check_engine(Trt, Engine(good, names[::-1]), "m.plan", ABOUT_PLAN)
    for engine in (Engine("x", names), Engine(good, names[1:]), Engine(good, names, "half")):
        with pytest.raises(UsageError, match="not the plan that its sidecar describes"):
            check_engine(Trt, engine, "m.plan", ABOUT_PLAN)


def test_classes_of_a_plan_that_ends_in_detections_are_integers():
    class Ending(Engine):
        def get_tensor_dtype(self, name):
            return "int" if name == "classes" else "float"

    about = replace(ABOUT_PLAN, model=replace(ABOUT_PLAN.model, outputs="detections"))
    names = ["input_1", "scores", "boxes", "classes"]
    check_engine(Trt, Ending(about.identity, names), "m.plan", about)
    with pytest.raises(UsageError, match="not the plan that its sidecar describes"):
        check_engine(Trt, Engine(about.identity, names), "m.plan", about)


@pytest.mark.parametrize("name", ["m.onnx", "turned.onnx"])
def test_outputs_have_the_shapes_of_the_graphs(files, name):
    """What memory is reserved for them on the GPU."""
    about = read_exported(files / name)
    session = onnxruntime.InferenceSession(files / name, providers=["CPUExecutionProvider"])
    outputs = session.run(list(about.output_names), {"input_1": np.zeros((2, 3, 64, 96), "f4")})
    assert about.raw_shapes == [output.shape[1:] for output in outputs]


class Host:
    """Stands for the device and the loader: pictures are numbers, odd ones cannot be decoded."""

    def __init__(self):
        self.given_back = []

    def pinned(self, shape, dtype):
        return np.zeros(shape, dtype)

    def load(self, pictures):
        bad = ImageError("odd")
        self.pictures = [bad if n % 2 else cuda_ops.GpuPicture(n, 1, 1, 3, 1, 1) for n in pictures]
        self.by_pillow = [n > 2 for n in pictures]
        return self

    def give_back(self, batch):
        self.given_back.append(batch)

    def synchronize(self):
        pass


def test_a_second_launch_may_start_before_the_first_is_done():
    """Rows belong to the pictures that could be loaded, and memory is not shared before the end."""
    host = Host()
    launches = Launches(host, host, batch=4, detections=2)
    used = deque()

    def compute(good, results):
        used.append(results)
        for slot, source in enumerate(good):
            results.scores[slot, 0] = source.ptr / 10
        return host

    first = launches.start([1, 2, 4], compute)
    by_pillow = host.by_pillow
    host.pictures, host.by_pillow = list(host.pictures), list(by_pillow)
    outcomes = first()
    assert isinstance(outcomes[0].found, ImageError)
    assert [o.found.scores.tolist() for o in outcomes[1:]] == [[np.float32(0.2)], [np.float32(0.4)]]
    assert [o.by_pillow for o in outcomes] == [False, False, True]
    one = launches.start([2], compute)
    two = launches.start([4], compute)
    assert used[0] is used[1] is not used[2]
    two(), one()
    assert len(host.given_back) == 3


def test_rotated_detections_have_six_numbers():
    host = Host()
    launches = Launches(host, host, batch=1, detections=2, box_values=6)

    def compute(good, results):
        results.scores[0, 0] = 0.5
        results.boxes[0, 0] = range(6)
        return host

    (outcome,) = launches.start([2], compute)()
    assert outcome.found.boxes.tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("more", "missing"),
    [({"workers": 1}, WITHOUT_TORCH), ({"local": True}, (*WITHOUT_TORCH, "ray"))],
    ids=["workers", "local"],
)
def test_nothing_of_a_run_needs_torch(files, photos, tmp_path, more, missing):
    """Where torch and onnx cannot be imported, and for --local where Ray cannot be either."""
    blocking = Blocking(tmp_path, missing)
    output = tmp_path / "d.json"
    assert blocking.python("-c", "import odtk_ray.engines.tensorrt").returncode == 0
    run = blocking.python("-c", RUN_PLAN, files / "m.plan", photos, output, json.dumps(more))
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == ["26", "0"]
    found = json.loads(output.read_text(encoding="utf-8"))
    assert len(found["annotations"]) == 26
