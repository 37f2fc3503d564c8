"""`odtk-ray doctor`: what is wrong with the machine, the cluster, or the inputs of a run."""

import json
import os
from typing import TYPE_CHECKING, Annotated

from odtk_ray.cli.colours import echo, echo_own
from odtk_ray.cli.command import Debug, command
from odtk_ray.cli.guarded import guarded
from odtk_ray.errors import EXIT_FAILED, EXIT_OK, UsageError
from odtk_ray.options import Option
from odtk_ray.plural import counted
from odtk_ray.stack.finding import Finding, Level, ok

if TYPE_CHECKING:
    from odtk_ray.checks.annotations import AnnotationReport
    from odtk_ray.stack.examine import Asked

_NAME = 16  # characters of the column of names


@command(
    "odtk-ray doctor --model model.pth --images photos/",
    "odtk-ray doctor --annotations instances.json --images photos/",
)
def doctor(
    *,
    model: Annotated[
        str | None, Option("Model", "Model to open as infer does: path or URI.", "MODEL")
    ] = None,
    images: Annotated[
        str | None,
        Option("Images", "Images to find as infer does; with --annotations the folder or URI of "
               "its images.", "DIR"),
    ] = None,
    annotations: Annotated[
        str | None,
        Option("Images", "COCO file to examine; without --model and --address nothing else is.",
               "FILE"),
    ] = None,
    rotated_bbox: Annotated[
        bool, Option("Images", "The boxes of --annotations are rotated.")
    ] = False,
    address: Annotated[
        str | None,
        Option("Cluster", "Address of a Ray cluster, or auto: examine every node.", "ADDRESS",
               "RAY_ADDRESS, else no cluster"),
    ] = None,
    run_dir: Annotated[
        str | None,
        Option("Cluster", "Folder that every node must share, for the state of runs.", "DIR",
               "the current folder is tried"),
    ] = None,
    samples: Annotated[
        str,
        Option("Output", "PNG to write, with six annotations of --annotations drawn.", "FILE"),
    ] = "doctor.png",
    json_: Annotated[
        bool, Option("Output", "Print one JSON list of findings instead of lines.")
    ] = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Say what is wrong with this machine, a cluster, or the inputs of a run, and what to do.

    Libraries are imported in a process of their own: one that crashes is named. Of an annotation
    file six annotations are drawn.

    Exit codes: 0 nothing is wrong, 1 something is, 2 the annotation file cannot be read, or the
    PNG written.
    """

    def check() -> int:
        from odtk_ray.stack.examine import Asked

        cluster = address or os.environ.get("RAY_ADDRESS")
        if run_dir is not None and not cluster:
            raise UsageError("--run-dir needs --address", "it is tried on the nodes of a cluster")
        if rotated_bbox and annotations is None:
            raise UsageError("--rotated-bbox needs --annotations", "it says which boxes they have")
        found = []
        if annotations is None or model or address:
            asked = Asked(cluster, run_dir, model, images, annotations)
            found = _examine_stack(asked, silent=json_)
        if annotations is not None:
            found += _examine_file(annotations, images or ".", rotated_bbox, samples, silent=json_)
        if json_:
            echo_own(json.dumps([finding.to_json() for finding in found], indent=2))
        wrong = any(finding.level is Level.PROBLEM for finding in found)
        return EXIT_FAILED if wrong else EXIT_OK

    guarded(check, debug, resumable=False)


def _examine_stack(asked: "Asked", *, silent: bool) -> list[Finding]:
    """Examine machine and cluster, and print the findings as they come."""
    from odtk_ray.stack.examine import examine_stack

    found = []
    for finding in examine_stack(asked):
        found.append(finding)
        if not silent:
            padding = " " * (len("problem") - len(finding.level.value))
            text = f"{padding}{finding.name:<{_NAME}} {finding.text}"
            echo(text, label=finding.level.value)
            if finding.remedy:
                echo(finding.remedy, label="hint", indent=2)
    if not silent:
        levels = [finding.level for finding in found]
        problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
        echo(f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}")
    return found


def _examine_file(
    annotations: str, images: str, rotated: bool, samples: str, *, silent: bool
) -> list[Finding]:
    """Examine an annotation file, draw some of it, and print the findings."""
    from odtk_ray.checks.annotations import examine
    from odtk_ray.pictures.annotation_sheet import check_sheet, write_samples

    check_sheet(samples, annotations)
    report = examine(annotations, images, rotated=rotated)
    if report.samples:
        write_samples(report, images, samples)
    summary = (
        f"{counted(len(report.images), 'image')}, "
        f"{counted(len(report.categories), 'category', 'categories')}, "
        f"{counted(report.annotations, 'annotation')}, {report.turned:,} of them turned"
    )
    found = [ok(annotations, summary)]
    found += [
        Finding(
            annotations,
            Level.PROBLEM if finding.problem.value.wrong else Level.WARNING,
            finding.text,
            finding.remedy,
        )
        for finding in report.findings
    ]
    if not silent:
        _print_report(report, found, samples)
    return found


def _print_report(report: "AnnotationReport", found: list[Finding], samples: str) -> None:
    summary, *others = found
    echo(f"{summary.name}: {summary.text}")
    for finding in others:
        echo(f"{'wrong' if finding.level is Level.PROBLEM else 'note'}: {finding.text}")
        if finding.remedy:
            echo(f"hint: {finding.remedy}", indent=2)
    if report.samples:
        echo(f"wrote {samples}: {counted(len(report.samples), 'annotation')}")
    echo("nothing is wrong" if report.healthy else "correct the file, and check it again")
