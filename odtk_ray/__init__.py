"""Distributed RetinaNet inference, evaluation and TensorRT export on Ray."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odtk_ray.api import compare, evaluate, export, infer, info, load, status
    from odtk_ray.api.detections import Detections
    from odtk_ray.api.detector import Detector
    from odtk_ray.errors import OdtkError, UsageError

__version__ = "1.0.0"

__all__ = [
    "Detections",
    "Detector",
    "OdtkError",
    "UsageError",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "infer",
    "info",
    "load",
    "status",
]


def __getattr__(name: str) -> Any:
    """Import a part of the API when it is first asked for."""
    if name in ("infer", "evaluate", "compare", "export", "info", "load", "status"):
        from odtk_ray import api

        return getattr(api, name)
    if name == "Detections":
        from odtk_ray.api import detections

        return detections.Detections
    if name == "Detector":
        from odtk_ray.api import detector

        return detector.Detector
    if name in ("OdtkError", "UsageError"):
        from odtk_ray import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
