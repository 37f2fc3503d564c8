"""What is said of GPUs, for answers that their software can give."""

from __future__ import annotations

import pytest

from odtk_ray.stack import gpus
from odtk_ray.stack.finding import Level
from odtk_ray.stack.gpus import check_gpus, find_gpus
from odtk_ray.stack.prober import ProbeError, Prober

H200 = {"gpus": [["NVIDIA H200", "9.0"]], "driver": "12.4", "reason": ""}
WORKING = {
    gpus.find_gpus: H200,
    gpus.try_torch: {"cuda": "12.4", "architectures": "sm_80 sm_90", "failed": []},
    gpus.try_kernels: None,
    gpus.try_decoders: {"decoders": ["nvimgcodec-0.9.0-hardware"], "remarks": []},
    gpus.try_tensorrt: "tensorrt 10.13.0",
}


class Answers:
    """A prober whose answers are written down; an exception is raised."""

    def __init__(self, answers):
        self.answers = answers

    def ask(self, function, *arguments):
        answer = self.answers[function]
        if isinstance(answer, Exception):
            raise answer
        return answer


def found(**changes):
    answers = WORKING | {getattr(gpus, name): answer for name, answer in changes.items()}
    return {finding.name: finding for finding in check_gpus(Answers(answers))}


def test_all_is_well():
    rows = found()
    assert {row.level for row in rows.values()} == {Level.OK}
    assert rows["GPU 0"].text == "NVIDIA H200, compute capability 9.0, driver for CUDA 12.4"
    assert rows["CUDA kernels"].text == "compile and load on GPU 0, NVIDIA H200"


@pytest.mark.parametrize(
    ("changes", "name", "level", "text", "remedy"),
    [
        ({"try_torch": {"cuda": "", "architectures": "", "failed": [[-1, "x"]]}},
         "torch on GPUs", Level.PROBLEM, "torch is built without CUDA", "install torch for CUDA"),
        ({"try_torch": {"cuda": "13.0", "architectures": "sm_90", "failed": [[-1, "old driver"]]}},
         "torch on GPUs", Level.PROBLEM, "every GPU fails with torch for CUDA 13.0: old driver",
         "update the driver, or install torch for CUDA 12.4"),
        ({"try_torch": {"cuda": "12.4", "architectures": "sm_80", "failed": [[0, "no image"]]}},
         "torch on GPUs", Level.PROBLEM, "GPU 0 fails with torch for CUDA 12.4: no image",
         "GPUs: sm_80; install a torch for these GPUs and this driver"),
        ({"try_torch": ProbeError("No module named 'torch'")},
         "torch on GPUs", Level.WARNING, "not tried: No module named 'torch'", ""),
        ({"try_kernels": ProbeError("PyCUDA cannot be imported")}, "CUDA kernels", Level.WARNING,
         "GPU 0: PyCUDA cannot be imported", "pip install 'odtk-ray[cuda]'"),
        ({"try_decoders": {"decoders": [], "remarks": ["the CPU decodes JPEGs: no nvjpeg"]}},
         "nvImageCodec", Level.WARNING, "the CPU decodes JPEGs: no nvjpeg", "more slowly"),
        ({"try_tensorrt": ProbeError("the process died (SIGSEGV)", crashed=True)},
         "TensorRT on GPUs", Level.WARNING, "the process died (SIGSEGV)", "check the GPUs"),
    ],
)  # fmt: skip
def test_what_does_not_work_is_said_with_what_to_do(changes, name, level, text, remedy):
    row = found(**changes)[name]
    assert row.level is level
    assert text in row.text
    assert remedy in row.remedy


def test_without_a_gpu_nothing_is_tried():
    rows = found(find_gpus={"gpus": [], "driver": "", "reason": "no NVIDIA driver"})
    assert list(rows) == ["GPUs"]
    assert (rows["GPUs"].level, rows["GPUs"].text) == (Level.WARNING, "none: no NVIDIA driver")


def test_the_driver_of_this_machine():
    with Prober() as prober:
        answer = prober.ask(find_gpus)
    assert bool(answer["gpus"]) or "driver" in answer["reason"]


@pytest.mark.gpu
def test_on_a_gpu():
    with Prober() as prober:
        rows = list(check_gpus(prober))
    assert rows[0].name == "GPU 0"
    assert "torch on GPUs" in {row.name for row in rows if row.level is Level.OK}
