"""What the documentation site has beyond docs/: MkDocs calls this (`hooks` in mkdocs.yml).

- README.md, CONTRIBUTING.md, CHANGELOG.md and LICENSE, and links between them and docs/.
- The command line's reference, from the declarations of the options.
- The list of what the Python API's reference shows; mkdocstrings reads the docstrings.

Pages are written for GitHub. Where its Markdown differs, they are changed on their way.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import option_docs
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import odtk_ray
from odtk_ray.cli.command import Command
from odtk_ray.cli.program import cli

ROOT = Path(__file__).resolve().parents[1]
# Files of the project that are on the site, and their names there.
PROJECT = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "LICENSE": "LICENSE.txt",
}
# The Python API's page.
API = {
    "Calls": [
        "odtk_ray.load",
        "odtk_ray.infer",
        "odtk_ray.evaluate",
        "odtk_ray.compare",
        "odtk_ray.export",
        "odtk_ray.info",
        "odtk_ray.status",
    ],
    "Detect in this process": ["odtk_ray.Detector", "odtk_ray.Detections"],
    "What the other calls return": [
        "odtk_ray.run.summary.Summary",
        "odtk_ray.evaluation.score_run.Scores",
        "odtk_ray.evaluation.evaluate_files.Evaluation",
        "odtk_ray.evaluation.analysis.Analysis",
        "odtk_ray.evaluation.comparison.Comparison",
        "odtk_ray.evaluation.comparison.Pair",
        "odtk_ray.exports.onnx.export_onnx.Exported",
        "odtk_ray.exports.tensorrt.export_plan.BuiltPlan",
        "odtk_ray.exports.engine_set.export_set.BuiltSet",
        "odtk_ray.exports.triton.export_triton.TritonModel",
        "odtk_ray.shards.run_status.RunStatus",
    ],
    "Errors and progress": [
        "odtk_ray.OdtkError",
        "odtk_ray.UsageError",
        "odtk_ray.reporter.RunReporter",
    ],
}
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)")
_OPTIONS = re.compile(
    r"^<!-- options of \w+ -->\n(.*?)^<!-- end of options -->\n", re.MULTILINE | re.DOTALL
)
_FENCE = re.compile(r"^(```\w+) \w+$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages that are not in docs/."""
    pages = {"command_line.md": command_line(), "python_api.md": python_api()}
    for source, name in PROJECT.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        pages[name] = _LINK.sub(lambda found: from_root(found[1]), text)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Change what GitHub shows and Python-Markdown does not."""
    text = _LINK.sub(lambda found: from_docs(found[1]), markdown)
    text = _FENCE.sub(r"\1", text)  # the tags that say which commands the tests run
    text = _OPTIONS.sub(r'<div class="options" markdown="1">\n\n\1\n</div>\n', text)
    return text.replace("<details>", '<details markdown="1">')


def from_docs(target: str) -> str:
    """Return where a link of a page in docs/ leads on the site."""
    return PROJECT.get(target.removeprefix("../"), target) if target.startswith("../") else target


def from_root(target: str) -> str:
    """Return where a link of a page beside docs/ leads on the site."""
    return PROJECT.get(target, target.removeprefix("docs/"))


def command_line() -> str:
    """Write the page of all commands and their options."""
    parts = [
        "# Command line",
        "`odtk-ray COMMAND --help` prints the same. Exit codes: 0 done, 1 failed, 2 wrong usage, "
        "3 done but some images (or plans of an engine set) failed.",
    ]
    for name, command in cli.commands.items():
        if isinstance(command, Command):
            parts += of_command(name, command)
    return "\n\n".join(parts) + "\n"


def of_command(name: str, command: Command) -> Iterator[str]:
    """Yield the paragraphs on a command."""
    context = click.Context(command, info_name=f"odtk-ray {name}")
    yield f"## {name}"
    yield f"```sh\n{' '.join(command.get_usage(context).split()[1:])}\n```"
    yield inspect.cleandoc(command.help or "")
    declared = [param.declared for param in command.params if hasattr(param, "declared")]
    if arguments := [option for option in declared if option.positional]:
        lines = [f"- `{option.option.metavar}`: {option.option.help}" for option in arguments]
        yield "\n".join(lines)
    if flags := [option for option in declared if not option.positional]:
        yield f"<!-- options of {name} -->\n{option_docs.table(flags)}<!-- end of options -->"
    yield "```sh\n" + "\n".join(command.examples) + "\n```"


def python_api() -> str:
    """Write the list of what the Python API's page shows, for mkdocstrings."""
    shown = {name for names in API.values() for name in names}
    for name in odtk_ray.__all__:
        if name != "__version__" and f"odtk_ray.{name}" not in shown:
            raise PluginError(f"the page of the Python API lacks odtk_ray.{name}")
    parts = ["# Python API", "[Call odtk-ray from Python](python.md) has examples of all of it."]
    for section, names in API.items():
        parts += [f"## {section}", *(f"::: {name}" for name in names)]
    return "\n\n".join(parts) + "\n"
