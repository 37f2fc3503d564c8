"""What users ask for: one frozen dataclass a command, checked where it is made.

The fields declare the options of the command line and the arguments of the API: name, type,
default, and an `Option` with the rest. None stands for a value that nobody gave.
"""

from odtk_ray.config.bench_config import BenchConfig
from odtk_ray.config.common import (
    Anchors,
    ModelPath,
    PlanPrecision,
    StrPath,
    chosen,
    options_in_force,
    settings_of,
    stated,
)
from odtk_ray.config.compare_config import CompareConfig
from odtk_ray.config.evaluate_config import EvaluateConfig
from odtk_ray.config.export_config import OF_INT8, CalibrationMethod, ExportConfig
from odtk_ray.config.infer_config import DEFAULT_OUTPUT, InferConfig

__all__ = [
    "DEFAULT_OUTPUT",
    "OF_INT8",
    "Anchors",
    "BenchConfig",
    "CalibrationMethod",
    "CompareConfig",
    "EvaluateConfig",
    "ExportConfig",
    "InferConfig",
    "ModelPath",
    "PlanPrecision",
    "StrPath",
    "chosen",
    "options_in_force",
    "settings_of",
    "stated",
]
