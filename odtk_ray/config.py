"""What users ask for: one frozen dataclass a command, with units, checked where it is made.

None stands for a value that nobody gave: the model's own, or what the field says.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any, Literal

from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.settings import (
    AnchorGeneration,
    CompileMode,
    Decoder,
    ExifPolicy,
    Postprocessing,
    Preprocessing,
    RotatedNms,
)

# Where the detections of a run go unless somebody says otherwise.
DEFAULT_OUTPUT = "detections.json"

CalibrationMethod = Literal["entropy", "percentile", "max", "mse"]


def stated(config: InferConfig | ExportConfig, names: Collection[str]) -> list[str]:
    """Return those of the fields that a user gave, sorted; in order of names."""
    return sorted(n for n in names if getattr(config, n) not in (None, False, (), "auto"))


def chosen(config: InferConfig | ExportConfig, kind: type[Any]) -> dict[str, Any]:
    """Return the fields of `Preprocessing` or `Postprocessing` that a user gave, by name."""
    values = {field.name: getattr(config, field.name, None) for field in fields(kind)}
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class InferConfig:
    """What `odtk-ray infer` is asked to do.

    Attributes:
        model: path of the checkpoint, of the exported model, or of an engine set.
        images: folder, file, glob, list file or URI; with `annotations`, the folder of its files.
        annotations: COCO file that names the images and may hold ground truth.
        outputs: files to write, their format by extension.
        resize: length in pixels that the short side is scaled to; None means 800, or what an
            exported model was made for.
        max_size: limit in pixels for the long side, which wins over `resize`; None means 1333, or
            likewise.
        fit: (height, width) in pixels that pictures are scaled to just fit into, instead.
        exif: whether the EXIF orientation is applied.
        max_pixels: pictures with more pixels than this fail without being decoded.
        tile: side in pixels of the windows that pictures are cut into; None takes them whole.
        overlap: pixels that neighbouring windows share.
        threshold: scores must be greater than this; None means the model's own, or 0.05.
        top_n: candidates kept for each pyramid level; None means the model's own, or 1000.
        nms: IoU above which the worse box is dropped; None means the model's own, or 0.5.
        detections: detections kept for each image; None means the model's own, or 100.
        rotated_nms: angles that rotated boxes are compared with; None means the model's own, or
            `own`.
        anchors: which generation of ODTK's anchors the checkpoint was trained with.
        rotated_bbox: the user says that the model is rotated; the checkpoint knows.
        batch: images in flight over all workers; None means 8 a GPU or 2 a CPU worker.
        workers: None means every GPU, or one CPU worker.
        threads: CPU threads a worker; None shares the cores among the workers.
        full_precision: neither FP16 nor TF32 on GPUs.
        compile: whether GPUs run compiled networks; `auto` for shapes that enough images share.
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
        max_failures: this many failed images still count as success.
        address: of a Ray cluster; None takes RAY_ADDRESS or starts Ray here.
        gpu_types: the GPUs to use, by Ray's type or by name; empty takes all.
        wait_for_nodes: seconds to wait for GPUs of these types; None refuses at once.
        fallback: checkpoint of an engine set, for GPUs that it has no plan for.
    """

    model: str
    images: str = "."
    annotations: str | None = None
    outputs: tuple[str, ...] = (DEFAULT_OUTPUT,)
    resize: int | None = None
    max_size: int | None = None
    fit: tuple[int, int] | None = None
    exif: ExifPolicy = "ignore"
    max_pixels: int = 178_000_000
    tile: int | None = None
    overlap: int = 0
    threshold: float | None = None
    top_n: int | None = None
    nms: float | None = None
    detections: int | None = None
    rotated_nms: RotatedNms | None = None
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

    def __post_init__(self) -> None:
        _check_wait(self.gpu_types, self.wait_for_nodes)
        self.preprocessing()  # which check their values
        self.postprocessing()

    def preprocessing(self) -> Preprocessing:
        """Return how pictures become network input where the model does not say."""
        return Preprocessing(**chosen(self, Preprocessing))

    def postprocessing(self) -> Postprocessing:
        """Return the thresholds where the model does not say."""
        return Postprocessing(**chosen(self, Postprocessing))

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
                f"--batch {self.batch} is too small for {counted(workers, 'worker')}",
                "it is the batch over all workers, and each needs at least one image",
            )
        return self.batch // workers


@dataclass(frozen=True)
class ExportConfig:
    """What `odtk-ray export` is asked to do.

    Attributes:
        model: path of the checkpoint.
        output: the file to write, or the folder of an engine set.
        size: height and width of the network input in pixels, multiples of 32; None means 1280
            for both.
        with_postprocess: the graph ends in detections instead of raw outputs.
        opset: version of ONNX's operators, 13 to 17; None means 17.
        anchors: which generation of ODTK's anchors the checkpoint was trained with.
        rotated_bbox: the user says that the model is rotated; its file knows.
        check_images: folder, file, glob or list of images for the self-check; None makes some up.
        threshold, top_n, nms, detections, rotated_nms: post-processing values, fixed in the graph
            or stored as its defaults; None means ODTK's defaults.
        int8: quantise the network.
        calibration_images: folder, file, glob or list of images to take ranges from.
        calibration_batches: how many batches of them; None means 10.
        calibration_batch_size: images in a batch; None means 2.
        calibration_annotations: COCO file of those images, or of `check_images`, for AP.
        calibration_table: file with ranges: read if it is there, written otherwise.
        calibration_method: how ranges are chosen; None means `entropy`, or what the table has.
        recalibrate: write the table anew.
        int8_exclude: patterns of operations that are not quantised.
        seed: of the random choice of calibration images.
        workers: for calibration; None calibrates in this process.
        address: of a Ray cluster, likewise.
        full_precision: plans in FP32, TF32 off.
        batches: least, tuned and greatest batch of a plan; None means 1, 1 and 16.
        workspace: MiB that a layer of a plan may use besides; None leaves it to TensorRT.
        timing_cache: file of timings that builds of plans share.
        capabilities: compute capabilities to build a plan for, with TensorRT for RTX.
        verbose: pass on everything that TensorRT says.
        gpu_types: an engine set for these GPUs, by Ray's type or by name, or `all`; empty exports
            one file.
        wait_for_nodes: seconds to wait for GPUs of these types; None refuses at once.
    """

    model: str
    output: str
    size: tuple[int, int] | None = None
    with_postprocess: bool = False
    opset: int | None = None
    anchors: AnchorGeneration = "auto"
    rotated_bbox: bool = False
    check_images: str | None = None
    threshold: float | None = None
    top_n: int | None = None
    nms: float | None = None
    detections: int | None = None
    rotated_nms: RotatedNms | None = None
    int8: bool = False
    calibration_images: str | None = None
    calibration_batches: int | None = None
    calibration_batch_size: int | None = None
    calibration_table: str | None = None
    calibration_annotations: str | None = None
    calibration_method: CalibrationMethod | None = None
    recalibrate: bool = False
    int8_exclude: tuple[str, ...] = ()
    seed: int = 0
    workers: int | None = None
    address: str | None = None
    full_precision: bool = False
    batches: tuple[int, int, int] | None = None
    workspace: int | None = None
    timing_cache: str | None = None
    capabilities: tuple[str, ...] = ()
    verbose: bool = False
    gpu_types: tuple[str, ...] = ()
    wait_for_nodes: float | None = None

    def __post_init__(self) -> None:
        _check_wait(self.gpu_types, self.wait_for_nodes)
        if self.int8 and self.full_precision:
            raise UsageError("--int8 and --full-precision contradict each other")
        self.postprocessing()  # which checks its values

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network input in pixels."""
        return self.size or (1280, 1280)

    def postprocessing(self) -> Postprocessing:
        """Return the thresholds of the exported model."""
        return Postprocessing(**chosen(self, Postprocessing))


def _check_wait(gpu_types: tuple[str, ...], wait_for_nodes: float | None) -> None:
    if wait_for_nodes is not None and not gpu_types:
        raise UsageError("--wait-for-nodes needs --gpu-type, which says what to wait for")
