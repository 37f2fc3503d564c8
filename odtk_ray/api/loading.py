"""The call that loads a model into this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from odtk_ray.config import InferConfig, PlanPrecision, StrPath, settings_of
from odtk_ray.errors import UsageError
from odtk_ray.reporter import LogReporter, Reporter
from odtk_ray.settings import AnchorGeneration, Batch, Decoder, ExifPolicy, RotatedNms

if TYPE_CHECKING:
    from odtk_ray.api.detector import Detector


def load(
    model: StrPath,
    *,
    device: Literal["auto", "gpu", "cpu"] = "auto",
    batch: Batch = 1,
    threads: int | None = None,
    decoder: Decoder | None = None,
    exif: ExifPolicy = "ignore",
    max_pixels: int = 178_000_000,
    resize: int | None = None,
    max_size: int | None = None,
    fit: tuple[int, int] | None = None,
    anchors: AnchorGeneration = "auto",
    full_precision: bool = False,
    precision: PlanPrecision | None = None,
    threshold: float | None = None,
    top_n: int | None = None,
    nms: float | None = None,
    detections: int | None = None,
    rotated_nms: RotatedNms | None = None,
    reporter: Reporter | None = None,
) -> Detector:
    """Load a model into this process, to detect in pictures.

    The detections of a file are those that `infer` writes on this device with the same settings and
    the same `batch`; with another batch, or another number of threads, the last bits may differ.

    Args:
        model: Path or URI of a checkpoint (.pth), of an exported model (.onnx, .plan), or of the
            folder of an engine set.
        device: Where it computes; auto is the first GPU, and the CPU where there is none.
        batch: Pictures at once. Every launch computes that many: 1 is quickest for single pictures,
            and a GPU needs 8 or more to be busy with lists. auto: what is measured to be fast,
            for the largest input that is allowed; it takes seconds, and may differ from time to
            time.
        threads: CPU threads. Default: 4 beside a GPU, else the physical cores.
        decoder: What decodes JPEGs. Default: the GPU where it can.
        exif: Whether pictures are turned as their EXIF orientation says; ODTK and COCO's
            annotations ignore it.
        max_pixels: Pictures with more pixels fail without being decoded.
        resize: Length in pixels that the short side of a picture is scaled to. Default: the
            model's, else 800.
        max_size: Limit in pixels of the long side; it wins over `resize`. Default: the model's,
            else 1333.
        fit: Height and width in pixels, multiples of 32, of an input that pictures are scaled to
            just fit into, as those of exported models are; instead of `resize` and `max_size`.
        anchors: Anchors that a checkpoint was trained with: legacy are those of ODTK before March
            2020; auto recognises them.
        full_precision: Compute in FP32 without TF32 on GPUs, as CPUs always do. Default: FP16 on
            GPUs.
        precision: Run the plans of this precision of an engine set; `fit`, `resize` and `max_size`
            choose among its sizes. Default: fp16 where the set has it, else fp32.
        threshold: Scores must be greater than this. Default: the model's, else 0.05.
        top_n: Candidates kept for each pyramid level of an image. Default: the model's, else 1000.
        nms: IoU above which the worse of two boxes of a class is dropped. Default: the model's,
            else 0.5.
        detections: Detections kept for each image. Default: the model's, else 100.
        rotated_nms: Angles that rotated boxes are compared with: each box's own, or, as ODTK does
            by mistake, that of the worse box for both. Default: the model's, else own.
        reporter: Told about decisions; None logs the remarks.

    Raises:
        UsageError: the model, the device or a setting cannot be used.
        OdtkError: the engine cannot run here.

    >>> import odtk_ray
    >>> with odtk_ray.load("trees.pth", resize=1000) as detector:
    ...     found = detector("photographs/OSBS_029.jpg")
    >>> found
    <100 detections in 400x400, best tree 0.66>
    >>> found.to_pandas().category[0]
    'tree'
    """
    arguments = settings_of(InferConfig, locals())
    if device not in ("auto", "gpu", "cpu"):
        raise UsageError(f"device {device!r} is unknown", "it is one of auto, gpu, cpu")
    del arguments["device"]
    config = InferConfig(threads_per_worker=arguments.pop("threads"), **arguments)
    from odtk_ray.api.detector import Detector
    from odtk_ray.run.open_detector import open_detector

    where = None if device == "auto" else device
    return Detector(open_detector(config, where, reporter or LogReporter()))
