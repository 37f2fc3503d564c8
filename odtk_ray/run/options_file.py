"""The options of a run as a file in its run folder, which `--config` reads."""

from __future__ import annotations

import json
from typing import Any

from odtk_ray import storage
from odtk_ray.config import InferConfig, options_in_force
from odtk_ray.storage.retry import with_retries

OPTIONS_FILE = "options.toml"


def write_options(config: InferConfig, folder: str) -> None:
    """Write the options in force into a run folder; a resumed run replaces those of the last one.

    Raises:
        OSError: the folder cannot be written.
    """
    lines = [
        "# The options of this run; `odtk-ray infer --config FILE` takes them from here.",
        "# Paths are relative to the folder in which the run was started.",
        "[infer]",
        *(_line(key, value) for key, value in options_in_force(config).items()),
    ]
    data = "".join(f"{line}\n" for line in lines).encode()
    path = storage.join(folder, OPTIONS_FILE)
    with_retries(lambda: storage.write_atomic(path, data))


def _line(key: str, value: Any) -> str:
    try:
        text = _toml(value)
        text.encode()
    except UnicodeEncodeError:
        return f"# {key}: TOML cannot hold this path, which is not UTF-8"
    return f"{key} = {text}"


def _toml(value: Any) -> str:
    """Write a value; strings are those of JSON, in which TOML escapes one character more."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
