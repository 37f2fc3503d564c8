r"""Makes the outputs of several runs and prints their SHA-256: a refactoring must change none.

    python tests/hashes/hash_outputs.py --json before.json                     the tree as it was
    python tests/hashes/hash_outputs.py --compare before.json                  the tree as it is now
    python tests/hashes/hash_outputs.py --tree ../other --compare before.json  another checkout

Both on one machine with one set of packages: the last bits of what a network computes depend on
them. The runs use the command line, so modules may move; where the few lie that it does not reach,
`tree_under_test.PARTS` says. No network is needed; all runs together take some minutes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from runs import RUNS, Rows, prepare
from tree_under_test import Tree, TreeError

_HERE = Path(__file__).resolve().parents[2]
_PACKAGES = "torch ray numpy pillow pyarrow onnx onnxruntime pycocotools tensorrt-rtx".split()

Table = dict[str, Rows]  # hashes by run and by name


@click.command(help=__doc__.splitlines()[0] if __doc__ else "")
@click.option("--tree", "root", default=str(_HERE), help="Checkout to run.  [default: this one]",
              type=click.Path(exists=True, file_okay=False))  # fmt: skip
@click.option("--run", "names", multiple=True, type=click.Choice(list(RUNS)),
              help="Only this run; may be repeated.  [default: all]")  # fmt: skip
@click.option("--json", "target", metavar="FILE", help="Write the hashes for --compare.",
              type=click.Path(dir_okay=False))  # fmt: skip
@click.option("--compare", "before", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="Hashes of an earlier --json: exit with 1 where some differ.")  # fmt: skip
@click.option("--work", metavar="DIR", type=click.Path(file_okay=False),
              help="New folder for all files, which stay.  [default: a temporary one]")  # fmt: skip
def main(
    root: str, names: tuple[str, ...], target: str | None, before: str | None, work: str | None
) -> None:
    wanted = [name for name in RUNS if not names or name in names]
    rtx = importlib.util.find_spec("tensorrt_rtx")
    if rtx is None and (plans := [name for name in wanted if name in ("engine-set", "int8")]):
        raise click.UsageError(
            f"{' and '.join(plans)} need TensorRT for RTX, which builds plans without a GPU: "
            "pip install --constraint .ci/constraints.txt tensorrt-rtx; or choose others by --run"
        )
    with ExitStack() as stack:
        if work is None:
            work = stack.enter_context(tempfile.TemporaryDirectory(prefix="odtk-ray-hashes-"))
        else:
            os.makedirs(work)
        table = hash_runs(Path(root), Path(work), wanted)
    click.echo("\n".join(markdown(table)))
    if target:
        document = {"environment": environment(), "hashes": table}
        Path(target).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if before:
        earlier = json.loads(Path(before).read_text(encoding="utf-8"))
        earlier["hashes"] = {k: v for k, v in earlier["hashes"].items() if k in wanted}
        lines = differences(earlier, {"environment": environment(), "hashes": table})
        click.echo("\n".join(["", *lines]) if lines else f"\nnothing differs from {before}")
        sys.exit(bool(lines))


def hash_runs(root: Path, work: Path, names: list[str]) -> Table:
    """The hashes of some runs; says on stderr how long each took.

    Raises:
        ClickException: the tree fails at one.
    """
    table: Table = {}
    try:
        tree = Tree(root, work)
        prepare(tree)
        for name in names:
            started = time.monotonic()
            table[name] = RUNS[name](tree)
            click.echo(f"{name}: {time.monotonic() - started:.0f} s", err=True)
    except TreeError as error:
        raise click.ClickException(str(error)) from error
    return table


def environment() -> dict[str, str]:
    """What else than the tree decides about the hashes."""
    versions = {"python": platform.python_version(), "cpu": _cpu(), "cores": str(os.cpu_count())}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "none"
    return versions


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


def markdown(table: Table) -> list[str]:
    """The lines of the table."""
    rows = [
        f"| {run} | {name} | {sha} |" for run, rows in table.items() for name, sha in rows.items()
    ]
    return ["| run | file | sha256 |", "|---|---|---|", *rows]


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Lines that say which hashes are not the same; where there are any, also another environment.

    Args:
        before: what `--json` wrote.
        after: likewise.
    """
    flat = [
        {(run, name): sha for run, rows in side["hashes"].items() for name, sha in rows.items()}
        for side in (before, after)
    ]
    lines = []
    for run, name in dict.fromkeys([*flat[0], *flat[1]]):
        was, now = (side.get((run, name), "none")[:12] for side in flat)
        if was != now:
            lines.append(f"| {run} | {name} | {was} | {now} |")
    if not lines:
        return []
    old, new = before["environment"], after["environment"]
    odd = [f"{k} was {old.get(k)}, is {new[k]}" for k in new if old.get(k) != new[k]]
    notes = [f"the environment is another one: {'; '.join(odd)}"] if odd else []
    return ["| differs: run | file | before | after |", "|---|---|---|---|", *lines, *notes]


if __name__ == "__main__":
    main()
