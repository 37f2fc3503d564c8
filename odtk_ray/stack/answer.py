"""The process of a `Prober`: answers calls that come as lines of JSON, until there are none."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer the calls on standard input; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        module, name, arguments = json.loads(line)
        # One write, so that whoever waits for its beginning has all of it.
        answers.write(f"{json.dumps(_call(module, name, arguments))}\n")
        answers.flush()


def _call(module: str, name: str, arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"result": getattr(importlib.import_module(module), name)(*arguments)}
    except BaseException as error:  # a module may even exit while it is imported
        return {"error": _clause(error)}


def _clause(error: BaseException) -> str:
    """Say what went wrong in one line, our own errors without their class."""
    text = getattr(error, "cause", None) or error
    first = next((line.strip() for line in str(text).splitlines() if line.strip()), "no message")
    return first if hasattr(error, "exit_code") else f"{type(error).__name__}: {first}"
