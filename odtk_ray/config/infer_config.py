"""What `odtk-ray infer` is asked to do."""

from dataclasses import dataclass
from typing import Annotated

from odtk_ray.config.common import (
    GPU_TYPES,
    MAX_LAUNCH,
    MAX_SECONDS,
    MAX_WORKERS,
    Anchors,
    ClassNames,
    ModelPath,
    Report,
    RotatedBbox,
    RunPrecision,
    WaitForNodes,
    check_wait,
    chosen,
    setting,
)
from odtk_ray.config.run_place import RunPlace
from odtk_ray.errors import UsageError
from odtk_ray.options import Option, check_options
from odtk_ray.plural import counted
from odtk_ray.settings import (
    MAX_SIDE,
    Batch,
    Decoder,
    ExifPolicy,
    Postprocessing,
    Preprocessing,
    RotatedNms,
)

# Where the detections of a run go unless somebody says otherwise.
DEFAULT_OUTPUT = "detections.json"

MAX_IMAGES = 10**12

# What None stands for where an exported model has a value of its own.
_OF_MODEL = "the model's, else {}"


# fmt: off
@dataclass(frozen=True)
class InferConfig:
    """What `odtk-ray infer` is asked to do; its fields are the options."""

    model: ModelPath
    images: Annotated[
        str,
        Option("Images", "Folder, file, glob, list of paths (.txt, one a line) or URI; with "
               "--annotations the folder or URI of its files.", "DIR", in_odtk=True),
    ] = "."
    annotations: Annotated[
        str | None,
        Option("Images", "COCO file that names the images; the detections are scored if it has "
               "ground truth.", "FILE", in_odtk=True),
    ] = None
    recursive: Annotated[bool, Option("Images", "Search the sub-folders of --images too.")] = False
    limit: Annotated[
        int | None, Option("Images", "Process only the first N images.", "N", minimum=1,
                      maximum=MAX_IMAGES)
    ] = None
    allow_missing: Annotated[
        bool, Option("Images", "Leave out annotated images whose file is missing.")
    ] = False
    exif: Annotated[ExifPolicy, setting(Preprocessing, "exif")] = Preprocessing.exif
    max_pixels: Annotated[
        int, setting(Preprocessing, "max_pixels", "")
    ] = Preprocessing.max_pixels
    update: Annotated[
        str | None,
        Option("Images", "Output, or run folder, of an earlier run with --keep-run: detect only in "
               "images that are new or have changed since, and take over the other results.",
               "OLD_OUTPUT", "detect in all images"),
    ] = None

    resize: Annotated[int | None, setting(Preprocessing, "resize", _OF_MODEL)] = None
    max_size: Annotated[int | None, setting(Preprocessing, "max_size", _OF_MODEL)] = None
    fit: Annotated[tuple[int, int] | None, setting(Preprocessing, "fit")] = None
    tile: Annotated[int | None, setting(Preprocessing, "tile")] = None
    overlap: Annotated[int, setting(Preprocessing, "overlap")] = Preprocessing.overlap

    anchors: Anchors = "auto"
    classes: ClassNames = None
    rotated_bbox: RotatedBbox = False
    full_precision: Annotated[
        bool,
        Option("Model", "Compute in FP32 without TF32 on GPUs, as CPUs always do.",
               unset="FP16 on GPUs", in_odtk=True),
    ] = False
    precision: RunPrecision = None

    threshold: Annotated[float | None, setting(Postprocessing, "threshold", _OF_MODEL)] = None
    top_n: Annotated[int | None, setting(Postprocessing, "top_n", _OF_MODEL)] = None
    nms: Annotated[float | None, setting(Postprocessing, "nms", _OF_MODEL)] = None
    detections: Annotated[int | None, setting(Postprocessing, "detections", _OF_MODEL)] = None
    rotated_nms: Annotated[
        RotatedNms | None, setting(Postprocessing, "rotated_nms", _OF_MODEL)
    ] = None
    thresholds: Annotated[
        str | None,
        Option("Detections", "File with a threshold for each class, which evaluate writes; "
               "applied to what --threshold and --detections keep.", "FILE"),
    ] = None
    only_classes: Annotated[
        tuple[str, ...],
        Option("Detections", "Keep only detections of this class, by name or category id; "
               "applied to what --detections keeps.", "CLASS"),
    ] = ()

    output: Annotated[
        tuple[str, ...],
        Option("Output", "Files to write, the format by extension: .json (as ODTK), "
               ".results.json (for pycocotools' loadRes), .jsonl, .csv, .parquet.", "FILE",
               several=r"[^-].*\.(json|jsonl|csv|parquet)", in_odtk=True),
    ] = (DEFAULT_OUTPUT,)
    draw: Annotated[
        str | None,
        Option("Output", "Folder for the pictures with boxes, labels and scores; those beyond "
               "--max-pixels are drawn smaller.", "DIR"),
    ] = None
    draw_threshold: Annotated[
        float,
        Option("Output", "Lowest score that is drawn or cut out.", "SCORE", minimum=0, maximum=1),
    ] = 0.3
    draw_truth: Annotated[
        bool,
        Option("Output", "Draw the objects of --annotations too, in dashes."),
    ] = False
    line_width: Annotated[
        int | None,
        Option("Output", "Width of the lines that are drawn.", "PIXELS", "grows with the picture",
               minimum=1, maximum=1_000),
    ] = None
    crops: Annotated[
        str | None,
        Option("Output", "Folder for a picture of each detection, DIR/IMAGE/NUMBER-CLASS.",
               "DIR"),
    ] = None
    crop_margin: Annotated[
        int,
        Option("Output", "Width of what crops have around their boxes.", "PIXELS", minimum=0,
               maximum=MAX_SIDE),
    ] = 0
    report: Report = None
    trace: Annotated[
        str | None,
        Option("Output", "File for a timeline of the run, for chrome://tracing or Perfetto.",
               "FILE"),
    ] = None

    batch: Annotated[
        Batch | None,
        Option("Workers", "Images at once over all workers, among which it is divided; auto: what "
               "is measured to be fast when the run starts.", "N", "8 a GPU, 2 a CPU worker",
               minimum=1, maximum=MAX_LAUNCH * MAX_WORKERS, in_odtk=True),
    ] = None
    workers: Annotated[
        int | None,
        Option("Workers", "Number of workers.", "N", "one a GPU; else 1, or all of a cluster",
               minimum=1, maximum=MAX_WORKERS),
    ] = None
    threads_per_worker: Annotated[
        int | None,
        Option("Workers", "CPU threads of each worker.", "N", "physical cores / workers",
               minimum=1, maximum=1_024),
    ] = None
    local: Annotated[
        bool,
        Option("Workers", "Run in this process, without Ray: one worker, on the first GPU or on "
               "the CPU."),
    ] = False
    decoder: Annotated[
        Decoder | None, Option("Workers", "What decodes JPEGs.", unset="the GPU where it can")
    ] = None

    address: Annotated[
        str | None,
        Option("Cluster", "Address of the Ray cluster, or auto.", "ADDRESS",
               "RAY_ADDRESS, else Ray is started here"),
    ] = None
    metrics_port: Annotated[
        int | None,
        Option("Cluster", "Port where Prometheus finds the metrics of a run that starts Ray here; "
               "it starts seconds later.", "PORT", "no metrics", minimum=1_024, maximum=65_535),
    ] = None
    gpu_type: Annotated[
        tuple[str, ...], Option("Cluster", f"GPUs to use: {GPU_TYPES}", "TYPE")
    ] = ()
    min_workers: Annotated[
        int | None,
        Option("Cluster", "With --wait-for-nodes: ask an autoscaler for this many workers at once, "
               "and start when the first is there.", "N", "what is there", minimum=1,
               maximum=MAX_WORKERS),
    ] = None
    exclude_node: Annotated[
        tuple[str, ...],
        Option("Cluster", "Nodes to leave out, by address, host name or Ray's id.", "NODE"),
    ] = ()
    wait_for_nodes: WaitForNodes = None
    fallback: Annotated[
        str | None,
        Option("Cluster", "Checkpoint that GPUs run for which an engine set has no plan.",
               "MODEL", "leave these GPUs out"),
    ] = None

    run_dir: Annotated[
        str | None,
        Option("Faults", "Folder or URI for the state of the run.", "DIR",
               "the first output's name and .run"),
    ] = None
    resume: Annotated[bool, Option("Faults", "Continue the run in --run-dir.")] = False
    keep_run: Annotated[
        bool, Option("Faults", "Keep --run-dir after success, as --update needs it and does.")
    ] = False
    max_failures: Annotated[
        int,
        Option("Faults", "Exit with 0 when at most N images failed; nothing else changes.", "N",
               minimum=0, maximum=MAX_IMAGES),
    ] = 0
    shard_timeout: Annotated[
        float | None,
        Option("Faults", "Replace a worker that finishes no image for this many seconds.",
               "SECONDS", "10 median shards, 120 at least", minimum=1, maximum=MAX_SECONDS),
    ] = None
    # fmt: on

    def __post_init__(self) -> None:
        check_options(self)
        check_wait(bool(self.gpu_type or self.min_workers), self.wait_for_nodes)
        if self.min_workers and self.wait_for_nodes is None:
            raise UsageError("--min-workers needs --wait-for-nodes, which says how long to wait")
        if self.min_workers and self.workers:
            raise UsageError("--workers and --min-workers contradict each other")
        if self.full_precision and self.precision not in (None, "fp32"):
            raise UsageError("--precision and --full-precision contradict each other")
        self._check_pictures()
        if self.report is not None and self.annotations is None:
            raise UsageError("--report needs --annotations, whose ground truth it is about")
        self.preprocessing()  # which checks that --overlap fits --tile

    def _check_pictures(self) -> None:
        """Refuse options of pictures that are not written."""
        if self.draw_truth and (self.draw is None or self.annotations is None):
            raise UsageError("--draw-truth needs --draw and --annotations")
        if self.line_width is not None and self.draw is None:
            raise UsageError("--line-width needs --draw")
        if self.crop_margin and self.crops is None:
            raise UsageError("--crop-margin needs --crops")

    def preprocessing(self) -> Preprocessing:
        """Return how pictures become network input where the model does not say."""
        return Preprocessing(**chosen(self, Preprocessing))

    def postprocessing(self) -> Postprocessing:
        """Return the thresholds where the model does not say."""
        return Postprocessing(**chosen(self, Postprocessing))

    @property
    def place(self) -> RunPlace:
        """The run folder, and where it is kept."""
        return RunPlace.of(self.output[0], self.run_dir, self.update)

    @property
    def run_folder(self) -> str:
        """The run folder's path; beside the first output unless it is given."""
        return self.place.working

    @property
    def keeps_run(self) -> bool:
        """Whether the run folder stays after success."""
        return self.keep_run or self.update is not None

    def launch_batch(self, workers: int, *, gpus: bool) -> int:
        """Images in one launch of one worker: `--batch` shared among the workers.

        Where the batch is to be measured, it is the least that there is.

        Raises:
            UsageError: there are fewer images in the batch than workers, or far too many.
        """
        if self.batch is None:
            return 8 if gpus else 2
        if self.batch == "auto":
            return 1
        if self.batch < workers:
            raise UsageError(
                f"--batch {self.batch} is too small for {workers} workers",
                "it is the batch over all workers, and each needs at least one image",
            )
        launch_batch = self.batch // workers
        if launch_batch > MAX_LAUNCH:
            raise UsageError(
                f"--batch {self.batch} is too large for {counted(workers, 'worker')}",
                f"that is {launch_batch:,} images at once for each, and {MAX_LAUNCH:,} at most",
            )
        return launch_batch
