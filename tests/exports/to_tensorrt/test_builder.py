"""Plans built for real by TensorRT for RTX, which needs no GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from synthetic import Quiet

from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.config import ExportConfig
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.tensorrt.export_plan import export_plan, pixels_used

SIZE = (64, 96)


def odtk_ray(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize("capability", ["8.0", "8.9", "12.0"])
@pytest.mark.parametrize(
    ("source", "flags", "precision"),
    [
        ("fp32", ["--full-precision"], "fp32"),
        ("fp32", [], "fp16"),
        ("half", [], "fp16"),
        ("int8", [], "int8"),
        ("int8_half", [], "int8"),
    ],
)
def test_plans_are_built(rtx, plan_models, tmp_path, source, flags, precision, capability):
    path = tmp_path / "m.plan"
    outcome = odtk_ray(
        "export", plan_models / f"{source}.onnx", path, *flags, "--dynamic-batch-opts", 1, 2, 4,
        "--compute-capability", capability,
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    about = read_sidecar(str(path))
    assert about.model.precision == precision
    assert about.batches == (1, 2, 4)
    assert about.capabilities == (capability,)
    assert about.tensorrt == f"tensorrt_rtx {rtx.__version__}"
    assert about.plan_bytes == path.stat().st_size > 100_000
    assert sorted(os.listdir(tmp_path)) == ["m.plan", "m.plan.json"]
    rows = odtk_ray("info", path).output
    assert f"precision           {precision}" in rows


def test_plans_in_fp32_end_in_detections_where_the_graph_does(rtx, plan_models, tmp_path):
    path = tmp_path / "m.plan"
    outcome = odtk_ray(
        "export", plan_models / "ended.onnx", path, "--full-precision", "--dynamic-batch-opts",
        1, 2, 4, "--compute-capability", "8.9",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "tuned for 2, ends in detections" in outcome.stdout
    assert read_sidecar(str(path)).model.outputs == "detections"
    assert "(fixed)" in odtk_ray("info", path).output


class Stopping(Quiet):
    """Has a signal sent soon after the build has begun, in the middle of TensorRT's work."""

    def __init__(self, number):
        super().__init__()
        self._timer = threading.Timer(0.05, os.kill, (os.getpid(), number))

    def note(self, text, hint=""):
        super().note(text, hint)
        if len(self.notes) == 1:
            self._timer.start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build_and_leaves_no_file(rtx, graph, tmp_path, number):
    """Python runs the handler as a callback is entered: TensorRT swallows what it raises."""

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(number, stop)
    path = str(tmp_path / "m.plan")
    config = ExportConfig(str(graph), path, full_precision=True, compute_capability=("8.9",))
    report = Stopping(number)
    try:
        with pytest.raises(KeyboardInterrupt):
            export_plan(config, report)
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert report.notes
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "flags", "precision", "convolutions"),
    [
        ("turned_fp32", ["--full-precision"], "fp32", "78 FP32"),
        ("turned_fp32", [], "fp16", "78 FP16"),
        ("turned_int8", ["--rotated-bbox"], "int8", "78 INT8"),
    ],
)
def test_rotated_plans_are_built(
    rtx, plan_models, tmp_path, source, flags, precision, convolutions
):
    path = tmp_path / "m.plan"
    outcome = odtk_ray(
        "export", plan_models / f"{source}.onnx", path, *flags, "--compute-capability", "8.9"
    )
    assert outcome.exit_code == 0, outcome.output
    about = read_sidecar(str(path))
    assert about.model.rotated
    assert about.model.precision == precision
    wrote, bound, layers, ran, *_, after = outcome.stdout.splitlines()
    assert f"ResNet18FPN, rotated boxes, 64x96, {precision.upper()}, batch 1 to 16" in wrote
    assert bound == f"for 8.9, with tensorrt_rtx {rtx.__version__}"
    assert layers == f"78 convolutions: {convolutions}"
    assert ran.startswith("not run here: ")
    assert after == f"next: odtk-ray infer {path} --images DIR"
    rows = [line.split() for line in odtk_ray("info", path).stdout.splitlines()]
    assert ["boxes", "rotated"] in rows


def test_a_plan_of_a_checkpoint_is_that_of_its_onnx(rtx, checkpoint, plan_models, tmp_path):
    flags = ("--compute-capability", "8.9")
    for name, source in (("a", (checkpoint, "--size", *SIZE)), ("b", (plan_models / "fp32.onnx",))):
        model, *more = source
        outcome = odtk_ray("export", model, tmp_path / f"{name}.plan", *more, *flags)
        assert outcome.exit_code == 0, outcome.output
    one, two = (read_sidecar(str(tmp_path / f"{name}.plan")) for name in "ab")
    assert one.model == two.model
    assert one.identity == two.identity


def test_the_summary_says_what_would_be_faster(rtx, plan_models, photos, tmp_path):
    """The pictures are 160x120, 120x160, 96x96 and 200x100 (w x h); the input is 96 wide, 64 high.

    Scales 0.533, 0.4, 0.667 and 0.48 (the width's) fill 0.889, 0.5, 0.667 and 0.75 of it.
    """
    flags = ("--compute-capability", "8.9", "--check-images", photos)
    outcome = odtk_ray("export", plan_models / "fp32.onnx", tmp_path / "m.plan", *flags)
    assert outcome.exit_code == 0, outcome.output
    assert "for throughput: --dynamic-batch-opts 1 8 16" in outcome.output
    # 26 pictures: 7, 7, 6 and 6 of these.
    filled = (7 * 8 / 9 + 7 * 0.5 + 6 * 2 / 3 + 6 * 0.75) / 26
    assert pixels_used(ImageLists().paths(str(photos)), SIZE) == pytest.approx(filled)
    assert f"the images fill {filled:.0%} of the 64x96 pixels" in outcome.output
    assert f"next: odtk-ray infer {tmp_path / 'm.plan'}" in outcome.output
    outcome = odtk_ray("export", plan_models / "fp32.onnx", tmp_path / "m.plan", *flags[:2],
                       "--dynamic-batch-opts", 1, 8, 16)  # fmt: skip
    assert "throughput" not in outcome.output
    assert "fill" not in outcome.output


def test_onnx_to_plan_needs_no_torch(rtx, plan_models, tmp_path):
    """As on a Jetson: neither torch nor Ray; where no type changes, no onnx package."""
    code = (
        "import sys\n"
        "for name in sys.argv.pop().split(','): sys.modules[name] = None\n"
        "from odtk_ray.cli.process import main; main()"
    )
    for source, flags, blocked in (
        ("fp32", [], "torch,ray"),
        ("fp32", ["--full-precision"], "torch,ray,onnx"),
        ("int8_half", [], "torch,ray,onnx"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", code, "export", plan_models / f"{source}.onnx",
             tmp_path / "m.plan", "--compute-capability", "8.9", *flags, blocked],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert "wrote" in run.stdout
