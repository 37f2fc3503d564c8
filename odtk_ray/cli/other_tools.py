"""Words of other detection tools, and what they are here; used where a command line is refused.

Ultralytics, torchvision's references, detectron2, MMDetection, TensorRT's trtexec, SAHI, ODTK's
own training, and odtk-ray 0.1.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

# Our option, what others call it, and what it does. Where a word is there twice, the first row
# counts whose option the command has. Dashes in front are left out, underscores are dashes.
_OPTIONS = (
    ("--images", "source input inputs input-dir image img-dir data-path folder dir",
     "a folder, file, glob, list or URI"),
    ("--annotations", "data ann ann-file annotation gt json coco dataset",
     "the COCO file of the images"),
    ("--threshold", "conf conf-thres conf-threshold confidence confidence-threshold score "
     "score-thr score-thresh score-threshold pred-score-thr", "scores must be greater than it"),
    ("--nms", "iou iou-thres iou-threshold nms-thr nms-thresh nms-threshold",
     "the IoU above which the worse box is dropped"),
    ("--resize", "imgsz img-size img short-side min-size input-size shape",
     "the short side in pixels; --max-size limits the long one"),
    ("--size", "imgsz img-size img input-size shape shapes height width",
     "height and width of the network input in pixels"),
    ("--dynamic-batch-opts", "batch batch-size dynamic min-shapes opt-shapes max-shapes "
     "minShapes optShapes maxShapes max-batch", "the batches MIN OPT MAX of a plan"),
    ("--batch", "batch-size bs images-per-batch samples-per-gpu", "images at once, by all workers"),
    ("--detections", "max-det max-dets max-detections detections-per-img max-per-img",
     "detections kept for each image"),
    ("--output", "o out out-file out-dir outfile output-dir save-json project save-dir",
     "files to write, their format by name"),
    ("--draw", "save show-dir save-img visualize vis-dir", "a folder for pictures with boxes"),
    ("--workers", "gpus num-gpus num-workers nproc devices", "one worker a GPU is the default"),
    ("--address", "dist-url master-addr ray-address", "the Ray cluster"),
    ("--run-dir", "work-dir workdir checkpoint-dir", "where a run keeps its state"),
    ("--tile", "slice-height slice-width slice-size tile-size window", "the side of a window"),
    ("--overlap", "overlap-height-ratio overlap-width-ratio tile-overlap", "in pixels"),
    ("--full-precision", "fp32 no-half noTF32", "FP16 is the default"),
    ("--half", "fp16 amp", "for ONNX files; plans are FP16 anyway"),
    ("--calibration-images", "calib calibration-data calib-data calib-dir", "a folder of images"),
    ("--calibration-table", "calibration-cache calib-cache cache", "a file of INT8 ranges"),
    ("--workspace", "memPoolSize max-workspace-size", "in MiB"),
    ("--timing-cache", "timingCacheFile", "a file that builds of plans share"),
)  # fmt: skip

# What no option stands for, and what to do.
_NO_OPTIONS = (
    ("weights model checkpoint ckpt m config-file cfg onnx loadEngine",
     "the model has no option: {command} MODEL"),
    ("format saveEngine", "the name says the format: {command} MODEL OUTPUT, which ends in .onnx "
     "or .plan"),
    ("half fp16 best amp", "leave it out: FP16 is the default on GPUs"),
    ("compile", "leave it out: networks are as fast without it"),
    ("device cuda cpu gpu", "leave it out: workers take the GPUs that CUDA_VISIBLE_DEVICES shows"),
    ("simplify dynamic-axes", "leave it out: the graph is folded, and its batch is dynamic"),
    ("class class-names", "--classes FILE names the classes, --only-classes NAME keeps some"),
    ("backbone lr epochs iters num-classes pretrained resume-training fine-tune milestones "
     "schedule warmup val-annotations val-images logdir jitter",
     "it belongs to training; the checkpoint says what model it is"),
    ("eval test-only eval-only val", "leave it out: what has ground truth in --annotations is "
     "scored"),
)  # fmt: skip

_COMMANDS = {
    "infer": "predict detect test run inference demo-image",
    "infer MODEL --images DIR --annotations FILE": "val validate eval evaluate",
    "export": "build compile onnx quantize trtexec",
    "info": "show inspect summary describe",
    "doctor": "check checks lint",
}

# Plans of TensorRT as others name them: without what odtk-ray must know of the model.
PLAN_ENDINGS = (".engine", ".trt")
# Models of other frameworks.
FOREIGN_ENDINGS = (
    ".safetensors", ".tflite", ".pb", ".h5", ".keras", ".mlmodel", ".mlpackage", ".xml",
)  # fmt: skip


def our_option(option: str, known: Container[str]) -> str:
    """Return the option that another tool's one is here, such as `--threshold` for `--conf`.

    Args:
        option: as it was given.
        known: the options of the command.
    """
    return next((ours for ours, _ in _meanings(option, known)), "")


def option_hint(option: str, command: str, known: Container[str]) -> str:
    """Return what to do instead of another tool's option; empty if it is nobody's word.

    Args:
        option: as it was given.
        command: such as `odtk-ray infer`.
        known: the options of that command.
    """
    for ours, does in _meanings(option, known):
        return f"{option} is {ours} here: {does}"
    for words, advice in _NO_OPTIONS:
        if _word(option) in words.split():
            return advice.format(command=command)
    return ""


def _meanings(option: str, known: Container[str]) -> Iterator[tuple[str, str]]:
    for ours, words, does in _OPTIONS:
        if ours in known and _word(option) in words.split():
            yield ours, does


def _word(option: str) -> str:
    return option.lstrip("-").replace("_", "-")


def command_hint(name: str) -> str:
    """Return which command does what another tool's one does; empty if it is nobody's word."""
    for ours, words in _COMMANDS.items():
        if name in words.split():
            return f"{name} is `odtk-ray {ours}` here"
    return ""
