"""Runs docs/python.ipynb and compares its outputs with the stored ones; `--write` stores them.

It is run here rather than by Jupyter, which would bring forty packages: a cell is Python, or lines
of commands that begin with `!`, and its output is what it prints, then the value of its last line.
Pictures are stored and not compared, numbers may differ a little, as they do between CPUs.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "python.ipynb"
_TOLERANCE = 0.02
_NUMBER = re.compile(r"\d+\.\d+")


def main(arguments: list[str]) -> int:
    """Run all cells in a folder of their own; return the exit code."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    stale, names = [], {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, cell in enumerate(cells, 1):
            outputs = run_cell("".join(cell["source"]), names, number)
            if not alike(outputs, cell["outputs"]):
                stale.append(number)
            cell |= {"outputs": outputs, "execution_count": number}
        os.chdir(NOTEBOOK.parent)
    if "--write" in arguments:
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        NOTEBOOK.write_text(text, encoding="utf-8")
    elif stale:
        print(f"cells {stale} give other outputs: python .ci/notebook.py --write")
    return bool(stale) and "--write" not in arguments


def run_cell(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Run a cell; return its outputs as a notebook stores them."""
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        if source.startswith("!"):
            for line in source.splitlines():
                print(run_command(line[1:]), end="")
        else:
            value = run_python(source, names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append(
            {"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())}
        )
    if value is not None:
        data = {"text/plain": lines(repr(value))}  # a picture would be most of the file
        outputs.append({"data": data, "execution_count": number, "metadata": {},
                        "output_type": "execute_result"})  # fmt: skip
    return outputs


def run_command(line: str) -> str:
    """Run a command line of odtk-ray by this Python; return what it prints."""
    words = shlex.split(line)
    if words[0] == "odtk-ray":
        words[:1] = [sys.executable, "-m", "odtk_ray"]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def run_python(source: str, names: dict[str, Any]) -> Any:
    """Run Python; return the value of the last line, if it is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)  # noqa: S102 - our own page
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307


def lines(text: str) -> list[str]:
    """Split a text as notebooks do."""
    return text.splitlines(keepends=True)


def alike(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> bool:
    """Return whether two lists of outputs have the same text, with numbers within a tolerance."""
    a, b = text_of(new), text_of(old)
    if _NUMBER.sub("#", a).split() != _NUMBER.sub("#", b).split():
        return False
    pairs = zip(map(float, _NUMBER.findall(a)), map(float, _NUMBER.findall(b)), strict=True)
    return all(math.isclose(x, y, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for x, y in pairs)


def text_of(outputs: list[dict[str, Any]]) -> str:
    """Return all text of some outputs."""
    parts = [o["text"] if "text" in o else o["data"]["text/plain"] for o in outputs]
    return "\n".join("".join(part) for part in parts)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(NOTEBOOK.parents[1]))
    sys.exit(main(sys.argv[1:]))
