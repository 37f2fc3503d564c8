"""Checks what neither ruff nor import-linter can: `make lint` calls it.

- A file has at most 300 lines, of C++ too, a function 40 below its signature and docstring; the
  exceptions and their reasons are below.
- No room reaches into another's private names: `from odtk_ray.model.pth import _x`, or `pth._x`.
- A function's docstring begins with a verb. ruff's D401 finds "Returns ..."; this finds "The ...".
- Files of text are read and written as UTF-8, never in the encoding of the process (ruff's PLW1514
  finds `open`, and paths only where it knows that they are paths).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("odtk_ray", "cuda_ops")
FOLDERS = (*PACKAGES, "jobs")
OTHER_FOLDERS = ("tests", ".ci")
CPP_FOLDERS = ("cuda_ops/cpp", "cuda_ops/deepstream", "tests/cpp")
LONGEST_FILE, LONGEST_FUNCTION = 300, 40

# What may be longer, and why.
EXCEPTIONS = {
    "cuda_ops/postprocess.py:__init__": "one list of the buffers and arguments of two kernels",
    "jobs/bench/traced.py:traced_engine": "a class whose base is chosen at run time",
}

# First words of docstrings that name a thing instead of saying what happens.
NO_VERBS = frozenset(
    """A All An Both Each Every For How In It Its Of One Some The This What When Where Whether Which
    Why""".split()
)
# Written for the users of the command line, who see these docstrings as help.
FREE = "odtk_ray/cli/"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def main() -> int:
    """Print what is wrong; return the exit code."""
    problems, used = [], set()
    for path in sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        for place, length, limit in too_long(name, text, tree):
            used.add(place)
            if place not in EXCEPTIONS:
                problems.append(f"{place}: {length} lines, at most {limit}")
        for line, what, room in foreign(name, tree):
            problems.append(f"{name}:{line}: {what} is private to {room}")
        if not name.startswith(FREE):
            problems += [f"{name}:{line}: begin with a verb: {text}" for line, text in nouns(tree)]
    for path in sorted(
        p for folder in (*FOLDERS, *OTHER_FOLDERS) for p in (ROOT / folder).rglob("*.py")
    ):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = path.relative_to(ROOT).as_posix()
        problems += [f'{name}:{line}: say encoding="utf-8"' for line in without_encoding(tree)]
    for path in sorted(p for folder in CPP_FOLDERS for p in (ROOT / folder).rglob("*")):
        if path.suffix in (".cpp", ".h") and (lines := count_lines(path)) > LONGEST_FILE:
            problems.append(f"{path.relative_to(ROOT)}: {lines} lines, at most {LONGEST_FILE}")
    problems += [f"{place} is no exception any more" for place in EXCEPTIONS.keys() - used]
    print("\n".join(problems) or f"structure: kept, {len(EXCEPTIONS)} exceptions have a reason")
    return bool(problems)


def too_long(name: str, text: str, tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Yield files and functions beyond the limits: where, how long, the limit."""
    if (lines := text.count("\n")) > LONGEST_FILE:
        yield name, lines, LONGEST_FILE
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and (lines := body_lines(node)) > LONGEST_FUNCTION:
            yield f"{name}:{node.name}", lines, LONGEST_FUNCTION


def count_lines(path: Path) -> int:
    """Count the lines of a file."""
    return path.read_text(encoding="utf-8").count("\n")


def body_lines(node: FunctionNode) -> int:
    """Count the lines of a function's statements, without its signature and docstring."""
    documented = ast.get_docstring(node, clean=False) is not None
    statements = node.body[1:] if documented else node.body
    if not statements:
        return 0
    return (node.end_lineno or 0) - statements[0].lineno + 1


def nouns(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield docstrings of functions, not of properties, that do not begin with a verb."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and not any(map(is_property, node.decorator_list)):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            if first.split(" ")[0] in NO_VERBS:
                yield node.lineno, first


def without_encoding(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of calls of `read_text` and `write_text` that name no encoding."""
    arguments = {"read_text": 0, "write_text": 1}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            others = arguments.get(node.func.attr)
            named = any(keyword.arg == "encoding" for keyword in node.keywords)
            if others is not None and len(node.args) <= others and not named:
                yield node.lineno


def is_property(decorator: ast.expr) -> bool:
    """Return whether a decorator makes a property."""
    return ast.unparse(decorator).split(".")[-1] in ("property", "cached_property")


def room_of(module: str) -> str:
    """Return the room of a module, `odtk_ray.export` of `odtk_ray.exports.onnx.decoding`."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "odtk_ray" else 1])


def foreign(name: str, tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Yield uses of other rooms' private names: line, name, room."""
    here = room_of(name.removesuffix(".py").replace("/", "."))
    rooms: dict[str, str] = {}  # local name -> the other room that it comes from
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            for item in node.names:
                module = getattr(node, "module", None) or item.name
                room = room_of(module if module not in PACKAGES else f"{module}.{item.name}")
                if module.split(".")[0] in PACKAGES and room != here:
                    rooms[item.asname or item.name.split(".")[0]] = room
                    if is_private(item.name):
                        yield node.lineno, item.name, room
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    for node in filter(lambda attribute: is_private(attribute.attr), attributes):
        if isinstance(node.value, ast.Name) and node.value.id in rooms:
            yield node.lineno, f"{node.value.id}.{node.attr}", rooms[node.value.id]


def is_private(name: str) -> bool:
    """Return whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


if __name__ == "__main__":
    sys.exit(main())
