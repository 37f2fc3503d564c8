"""Settings of a run: frozen, with units, checked where they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from odtk_ray.errors import UsageError

ExifPolicy = Literal["ignore", "apply"]
Decoder = Literal["gpu", "cpu"]
CompileMode = Literal["auto", "on", "off"]
AnchorGeneration = Literal["auto", "current", "legacy"]
RotatedNms = Literal["own", "odtk"]

# ImageNet statistics of the torchvision trunks, RGB, on values in [0, 1].
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes network input.

    Attributes:
        resize: length in pixels that the short side is scaled to.
        max_size: limit in pixels for the long side; it wins over `resize`.
        stride: the padded input is a multiple of this many pixels (128 for PyTorch: P7's stride).
        exif: whether the EXIF orientation is applied; ODTK and COCO's annotations ignore it.
        max_pixels: pictures with more pixels than this are failed rows and are never decoded.
        fit: (height, width) in pixels of a network input of fixed size: pictures are scaled so that
            they just fit into it; the first three values are not used then. Multiples of 32.
        tile: side in pixels of the windows that a picture is cut into, each of which is then
            resized or fitted as a picture would be; None takes it whole.
        overlap: pixels that neighbouring windows share.
    """

    resize: int = 800
    max_size: int = 1333
    stride: int = 128
    exif: ExifPolicy = "ignore"
    max_pixels: int = 178_000_000
    fit: tuple[int, int] | None = None
    tile: int | None = None
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.tile is not None:
            _at_least("--tile", self.tile, 1)
        if self.overlap and self.overlap >= (self.tile or 1):
            raise UsageError(
                f"--overlap {self.overlap} is too large",
                "it must be less than --tile" if self.tile else "it needs --tile",
            )
        _at_least("--resize", self.resize, 1)
        _at_least("--max-size", self.max_size, 1)
        _at_least("--max-pixels", self.max_pixels, 1)


@dataclass(frozen=True)
class Postprocessing:
    """From head outputs to detections; ODTK's defaults.

    Attributes:
        threshold: scores must be greater than this (strictly) to become candidates.
        top_n: at most this many candidates are kept for each pyramid level and image.
        nms: a box is suppressed by a better one of its class when their IoU is greater than this.
        detections: at most this many detections are kept for each image.
        rotated_nms: angles that rotated boxes are compared with: each box's "own", or, as "odtk"
            does by mistake, that of the worse box for both.
    """

    threshold: float = 0.05
    top_n: int = 1000
    nms: float = 0.5
    detections: int = 100
    rotated_nms: RotatedNms = "own"

    def __post_init__(self) -> None:
        _within("--threshold", self.threshold, 0.0, 1.0)
        _within("--nms", self.nms, 0.0, 1.0)
        _at_least("--top-n", self.top_n, 1)
        _at_least("--detections", self.detections, 1)


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise UsageError(f"{name} {value} is too small", f"the least is {low}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise UsageError(
            f"{name} {value:g} is out of range", f"it lies between {low:g} and {high:g}"
        )


@dataclass(frozen=True)
class InferConfig:
    """What `odtk-ray infer` is asked to do.

    Attributes:
        model: path of the checkpoint, of the exported model, or of an engine set.
        images: folder, file, glob, list file or URI; with `annotations`, the folder of its files.
        annotations: COCO file that names the images and may hold ground truth.
        outputs: files to write, their format by extension.
        anchors: which generation of ODTK's anchors the checkpoint was trained with.
        rotated_bbox: the user says that the model is rotated; the checkpoint knows.
        batch: images in flight over all workers; None means 8 a GPU or 2 a CPU worker.
        workers: None means every GPU, or one CPU worker.
        threads: CPU threads a worker; None shares the cores among the workers.
        full_precision: neither FP16 nor TF32 on GPUs.
        compile: whether GPUs run compiled networks; `auto` where a shape has images enough.
        decoder: what decodes plain JPEGs; None takes the GPU where it can.
        recursive: enter sub-folders of `images`.
        limit: only the first so many images.
        allow_missing: leave out images of the annotation file that are not there.
        run_dir: where the run keeps what it has done.
        resume: continue the run in `run_dir`.
        keep_run: keep `run_dir` after success.
        draw: folder for pictures with boxes.
        draw_threshold: lowest score that is drawn.
        shard_timeout: seconds without an image done after which a worker is replaced; None is ten
            times the median shard, 120 at least.
        trace: file for the timeline of the run, in Chrome's trace format.
        max_failures: so many failed images still count as success.
        address: of a Ray cluster; None takes RAY_ADDRESS or starts Ray here.
        gpu_types: the GPUs to use, by Ray's type or by name; empty takes all.
        wait_for_nodes: seconds to wait for GPUs of these types; None refuses at once.
        fallback: checkpoint of an engine set, for GPUs that it has no plan for.
        given: names of the settings that the user stated, even if they equal the defaults: an
            exported model refuses those that contradict it.
    """

    model: str
    images: str = "."
    annotations: str | None = None
    outputs: tuple[str, ...] = ("detections.json",)
    anchors: AnchorGeneration = "auto"
    rotated_bbox: bool = False
    batch: int | None = None
    workers: int | None = None
    threads: int | None = None
    full_precision: bool = False
    compile: CompileMode = "auto"
    decoder: Decoder | None = None
    recursive: bool = False
    limit: int | None = None
    allow_missing: bool = False
    run_dir: str | None = None
    resume: bool = False
    keep_run: bool = False
    draw: str | None = None
    draw_threshold: float = 0.3
    shard_timeout: float | None = None
    trace: str | None = None
    max_failures: int = 0
    address: str | None = None
    gpu_types: tuple[str, ...] = ()
    wait_for_nodes: float | None = None
    fallback: str | None = None
    pre: Preprocessing = Preprocessing()
    post: Postprocessing = Postprocessing()
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check_wait(self.gpu_types, self.wait_for_nodes)

    @property
    def run_folder(self) -> str:
        """The run folder's path; beside the first output unless it is given."""
        return self.run_dir or f"{self.outputs[0]}.run"

    def launch_batch(self, workers: int, *, gpus: bool) -> int:
        """Images in one launch of one worker: `--batch` shared among the workers.

        Raises:
            UsageError: there are fewer images in the batch than workers.
        """
        if self.batch is None:
            return 8 if gpus else 2
        if self.batch < workers:
            raise UsageError(
                f"--batch {self.batch} is too small for {workers} workers",
                "it is the batch over all workers, and each needs at least one image",
            )
        return self.batch // workers


@dataclass(frozen=True)
class ExportConfig:
    """What `odtk-ray export` is asked to do.

    Attributes:
        model: path of the checkpoint.
        output: the file to write, or the folder of an engine set.
        size: height and width of the network input in pixels, multiples of 32.
        with_postprocess: the graph ends in detections instead of raw outputs.
        opset: version of ONNX's operators, 13 to 17.
        anchors: which generation of ODTK's anchors the checkpoint was trained with.
        rotated_bbox: the user says that the model is rotated; its file knows.
        check_images: folder, file, glob or list of images for the self-check; None makes some up.
        post: post-processing values, fixed in the graph or stored as its defaults.
        int8: quantise the network.
        calibration_images: folder, file, glob or list of images to take ranges from.
        calibration_batches: how many batches of them.
        calibration_batch_size: images in a batch.
        calibration_annotations: COCO file of those images, or of `check_images`, for AP.
        calibration_table: file with ranges: read if it is there, written otherwise.
        calibration_method: how ranges are chosen.
        recalibrate: write the table anew.
        int8_exclude: patterns of operations that are not quantised.
        seed: of the choice of images.
        workers: for calibration; None calibrates in this process.
        address: of a Ray cluster, likewise.
        full_precision: plans in FP32, TF32 off.
        batches: least, tuned and greatest batch of a plan.
        workspace: MiB that a layer of a plan may use besides; None leaves it to TensorRT.
        timing_cache: file of timings that builds of plans share.
        capabilities: compute capabilities to build a plan for, with TensorRT for RTX.
        verbose: pass on everything that TensorRT says.
        gpu_types: an engine set for these GPUs, by Ray's type or by name, or `all`; empty exports
            one file.
        wait_for_nodes: seconds to wait for GPUs of these types; None refuses at once.
        given: names of the settings that the user stated: an ONNX file refuses those that were
            decided when it was written.
    """

    model: str
    output: str
    size: tuple[int, int] = (1280, 1280)
    with_postprocess: bool = False
    opset: int = 17
    anchors: AnchorGeneration = "auto"
    rotated_bbox: bool = False
    check_images: str | None = None
    post: Postprocessing = Postprocessing()
    int8: bool = False
    calibration_images: str | None = None
    calibration_batches: int = 10
    calibration_batch_size: int = 2
    calibration_table: str | None = None
    calibration_annotations: str | None = None
    calibration_method: Literal["entropy", "percentile", "max", "mse"] = "entropy"
    recalibrate: bool = False
    int8_exclude: tuple[str, ...] = ()
    seed: int = 0
    workers: int | None = None
    address: str | None = None
    full_precision: bool = False
    batches: tuple[int, int, int] = (1, 1, 16)
    workspace: int | None = None
    timing_cache: str | None = None
    capabilities: tuple[str, ...] = ()
    verbose: bool = False
    gpu_types: tuple[str, ...] = ()
    wait_for_nodes: float | None = None
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _check_wait(self.gpu_types, self.wait_for_nodes)
        if self.int8 and self.full_precision:
            raise UsageError("--int8 and --full-precision contradict each other")


def _check_wait(gpu_types: tuple[str, ...], wait_for_nodes: float | None) -> None:
    if wait_for_nodes is not None and not gpu_types:
        raise UsageError("--wait-for-nodes needs --gpu-type, which says what to wait for")
