"""What `odtk-ray export` is asked to do."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from odtk_ray.config.common import (
    GPU_TYPES,
    MAX_LAUNCH,
    MAX_WORKERS,
    Anchors,
    ClassNames,
    PlanPrecision,
    RotatedBbox,
    WaitForNodes,
    check_wait,
    chosen,
    setting,
)
from odtk_ray.errors import UsageError
from odtk_ray.options import Option, check_options
from odtk_ray.settings import MAX_COUNT, Postprocessing, RotatedNms

# Settings that mean nothing without --int8.
OF_INT8 = frozenset(
    """calibration_images calibration_batches calibration_batch_size calibration_table
    calibration_method recalibrate int8_exclude""".split()
)

_FP32 = "operators of detections compute in FP32"

CalibrationMethod = Literal["entropy", "percentile", "max", "mse"]


# fmt: off
@dataclass(frozen=True)
class ExportConfig:
    """What `odtk-ray export` is asked to do; its fields are the options.

    The values of post-processing are fixed in the graph with `with_postprocess`, and are defaults
    that the exported model brings along otherwise.
    """

    model: Annotated[
        str,
        Option("Arguments", "Path or URI of a checkpoint (.pth), or for plans of an .onnx file.",
               "MODEL"),
    ]
    output: Annotated[
        str,
        Option("Arguments", "File to write, .onnx or .plan; with --gpu-type the folder or URI of "
               "an engine set, with --triton that of a model repository.", "OUTPUT"),
    ]

    size: Annotated[
        tuple[int, ...] | None,
        Option("Network input", "Height and width in pixels of the network input, multiples of 32; "
               "an engine set may have several.", "H [W]", "1280 1280", minimum=1, maximum=16_384,
               several=r"\d+", pairs=True, in_odtk=True),
    ] = None

    anchors: Anchors = "auto"
    classes: ClassNames = None
    rotated_bbox: RotatedBbox = False

    with_postprocess: Annotated[
        bool, Option("ONNX", "End the graph in scores, boxes and classes, not in the heads.")
    ] = False
    plugin: Annotated[
        bool,
        Option("ONNX", "What --with-postprocess adds is computed by libodtk_plugin.so, in TensorRT "
               "only."),
    ] = False
    half: Annotated[
        bool,
        Option("ONNX", "Write an ONNX file in FP16, of opset 19, for TensorRT 10.12 and newer; "
               "with --int8 what is not quantised is FP16.", unset="FP32"),
    ] = False
    std_in_graph: Annotated[
        bool,
        Option("ONNX", "Divide by the standard deviation in the graph: the input is RGB in [0, 1] "
               "minus the mean, as DeepStream makes it."),
    ] = False
    opset: Annotated[
        int | None,
        Option("ONNX", "Version of ONNX's operators, 13 to 17.", "N", "17", minimum=13,
               maximum=17),
    ] = None

    full_precision: Annotated[
        bool,
        Option("TensorRT", "Build plans in FP32 without TF32.", unset="FP16", in_odtk=True),
    ] = False
    precision: Annotated[
        tuple[PlanPrecision, ...],
        Option("TensorRT", "Precision of plans, instead of --full-precision and --int8; an engine "
               "set may have several.", "fp16|fp32|int8", "fp16"),
    ] = ()
    dynamic_batch_opts: Annotated[
        tuple[int, int, int] | None,
        Option("TensorRT", "Least, tuned and greatest batch of a plan.", "MIN OPT MAX", "1 1 16",
               minimum=1, maximum=MAX_LAUNCH, in_odtk=True),
    ] = None
    workspace: Annotated[
        int | None,
        # Up to 1 TiB, more than any GPU has.
        Option("TensorRT", "Memory in MiB that a layer of a plan may use.", "MIB", "TensorRT's",
               minimum=1, maximum=1 << 20),
    ] = None
    timing_cache: Annotated[
        str | None,
        Option("TensorRT", "File of timings that builds of plans share.", "FILE"),
    ] = None
    compute_capability: Annotated[
        tuple[str, ...],
        Option("TensorRT", "Build for GPUs of this compute capability without having one, with "
               "tensorrt-rtx.", "X.Y"),
    ] = ()
    verbose: Annotated[
        bool, Option("TensorRT", "Pass on everything that TensorRT says.", in_odtk=True)
    ] = False

    int8: Annotated[bool, Option("INT8", "Quantise the network.", in_odtk=True)] = False
    calibration_images: Annotated[
        str | None,
        Option("INT8", "Folder, file, glob or list of images to measure ranges on.", "DIR",
               in_odtk=True),
    ] = None
    calibration_batches: Annotated[
        int | None,
        Option("INT8", "Number of batches of them, drawn at random.", "N", "10", minimum=1,
               maximum=MAX_COUNT,
               in_odtk=True),
    ] = None
    calibration_batch_size: Annotated[
        int | None,
        Option("INT8", "Images in a batch of them.", "N", "2", minimum=1, maximum=MAX_LAUNCH),
    ] = None
    calibration_table: Annotated[
        str | None,
        Option("INT8", "File with ranges: read if it is there, written otherwise.", "FILE",
               in_odtk=True),
    ] = None
    calibration_method: Annotated[
        CalibrationMethod | None,
        Option("INT8", "How ranges are chosen.", unset="that of the table, else entropy"),
    ] = None
    recalibrate: Annotated[
        bool, Option("INT8", "Measure anew, and replace --calibration-table.")
    ] = False
    int8_exclude: Annotated[
        tuple[str, ...],
        Option("INT8", "Operations that are not quantised, such as 'box_head.8*'.",
               "PATTERN"),
    ] = ()
    seed: Annotated[
        int, Option("INT8", "Seed of the random choice of calibration images.", "N",
                    minimum=0, maximum=2**63 - 1)
    ] = 0

    threshold: Annotated[float | None, setting(Postprocessing, "threshold", "{}")] = None
    top_n: Annotated[int | None, setting(Postprocessing, "top_n", "{}")] = None
    nms: Annotated[float | None, setting(Postprocessing, "nms", "{}")] = None
    detections: Annotated[int | None, setting(Postprocessing, "detections", "{}")] = None
    rotated_nms: Annotated[RotatedNms | None, setting(Postprocessing, "rotated_nms", "{}")] = None

    check_images: Annotated[
        str | None,
        Option("Check", "Folder, file, glob or list of images that the written model is compared "
               "on.", "DIR", "those of the calibration, else made-up ones"),
    ] = None
    calibration_annotations: Annotated[
        str | None,
        Option("Check", "COCO file of the images of --calibration-images or --check-images: "
               "compare AP as well.", "FILE"),
    ] = None

    triton: Annotated[
        str | None,
        Option("Serving", "Write a model of this name, which ends in detections, into a model "
               "repository of Triton, OUTPUT.", "NAME"),
    ] = None

    workers: Annotated[
        int | None,
        Option("Cluster", "Calibrate on this many Ray workers.", "N", "in this process",
               minimum=1, maximum=MAX_WORKERS),
    ] = None
    address: Annotated[
        str | None,
        Option("Cluster", "Address of the Ray cluster to calibrate and build engine sets on, or "
               "auto.", "ADDRESS"),
    ] = None
    gpu_type: Annotated[
        tuple[str, ...],
        Option("Cluster", f"Build an engine set, with a plan for each of these GPUs: {GPU_TYPES}",
               "TYPE"),
    ] = ()
    wait_for_nodes: WaitForNodes = None
    # fmt: on

    def __post_init__(self) -> None:
        check_options(self)
        check_wait(bool(self.gpu_type), self.wait_for_nodes)
        numbers = self.size or ()
        if len(numbers) % 2 and len(numbers) > 1:
            shown = " ".join(map(str, numbers))
            raise UsageError(f"--size {shown} has {len(numbers)} numbers", "it is --size H [W]")
        if self.int8 and self.full_precision:
            raise UsageError("--int8 and --full-precision contradict each other")
        self._check_precision()
        for flag, given, why in (
            ("--full-precision", self.full_precision, ""),
            ("--with-postprocess", self.with_postprocess and not self.plugin, _FP32),
            ("--triton", self.triton is not None, _FP32),
            ("--opset", self.opset is not None, "FP16 files have opset 19"),
        ):
            if self.half and given:
                raise UsageError(f"--half and {flag} contradict each other", why)
        if self.plugin and not self.with_postprocess:
            raise UsageError("--plugin needs --with-postprocess, whose operators it replaces")
        if self.plugin and self.triton is not None:
            raise UsageError(
                "--plugin and --triton contradict each other",
                "of a checkpoint --triton makes an ONNX file, for ONNX Runtime",
                "build a plan with --plugin, and give that to --triton",
            )
        if self.triton is not None and self.gpu_type:
            raise UsageError("--triton and --gpu-type contradict each other")

    def _check_precision(self) -> None:
        """Refuse precisions and sizes that contradict each other, or that one file cannot have."""
        for flag, given, value in (
            ("--full-precision", self.full_precision, "fp32"),
            ("--int8", self.int8, "int8"),
        ):
            if given and self.precision not in ((), (value,)):
                raise UsageError(
                    f"--precision and {flag} contradict each other",
                    hint=f"--precision {value} says the same, and may be repeated",
                )
        if self.gpu_type:
            return
        for flag, values in (("--size", self.sizes), ("--precision", set(self.precision))):
            if len(values) > 1:
                raise UsageError(
                    f"several {flag} need --gpu-type", "a file has one, an engine set any number"
                )
        if self.precision and not self.output.lower().endswith(".plan"):
            raise UsageError("--precision is for plans", f"{self.output} is not a .plan file")

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width in pixels of each network input; empty if none was asked for."""
        given = self.size or ()
        given = given * 2 if len(given) == 1 else given
        return tuple(dict.fromkeys(zip(given[::2], given[1::2], strict=True)))

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network input in pixels, the first one of several."""
        return (*self.sizes, (1280, 1280))[0]

    def variants(self) -> list["ExportConfig"]:
        """Return the settings for each precision and size: one precision and one size each."""
        sized = [replace(self, size=size) for size in self.sizes or (None,)]
        return [one._in(name) for one in sized for name in dict.fromkeys(self.precision)] or sized

    def _in(self, precision: PlanPrecision) -> "ExportConfig":
        """Return the settings of one of the precisions: those of INT8 are for INT8 only."""
        changes: dict[str, Any] = {"precision": (precision,)}
        if precision == "int8":
            changes["int8"] = True
        else:
            changes["full_precision"] = precision == "fp32"
            if "int8" in self.precision:
                annotated = self.calibration_annotations is not None
                images = self.check_images, self.calibration_images
                changes["check_images"] = images[annotated] or images[not annotated]
                changes |= {name: getattr(ExportConfig, name) for name in OF_INT8}
        return replace(self, **changes)

    def postprocessing(self) -> Postprocessing:
        """Return the thresholds of the exported model."""
        return Postprocessing(**chosen(self, Postprocessing))
