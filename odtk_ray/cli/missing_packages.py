"""What to do where a Python package is missing that a command needs.

torch and Ray are imported by what needs them, and nothing else: a device may lack both.
"""

from __future__ import annotations

# Of packages whose import has another name than what is installed.
_INSTALLED_AS = {"PIL": "pillow"}

_NAMES = {"torch": "PyTorch", "ray": "Ray"}

_REMEDIES = {
    "torch": "export it to ONNX where PyTorch is, --with-postprocess to run that file here, and "
    "without to build a plan; or pip install torch",
    "ray": "infer --local needs none, nor does an export without --workers, --address and "
    "--gpu-type; or pip install 'ray[data,default]'",
}


def explain_missing(error: ModuleNotFoundError) -> tuple[str, str]:
    """Say what is missing, and what to do, for a module that was not found."""
    package = (error.name or "").partition(".")[0]
    if package in _NAMES:
        return f"this needs {_NAMES[package]}, which is not installed", _REMEDIES[package]
    name = _INSTALLED_AS.get(package, package)
    return f"this needs the Python package {name}, which is missing", f"pip install {name}"
