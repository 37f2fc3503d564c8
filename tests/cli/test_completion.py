"""Completion: the protocol between shells and the program, and the shells themselves."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from odtk_ray.cli.program import cli

# As the console script does; its name is what the shells' scripts call.
PROGRAM = "import sys; sys.argv[0] = 'odtk-ray'; from odtk_ray.cli.process import main; main()"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with models and photos, and the program on PATH."""
    for name in ("bin", "photos", "home"):
        (tmp_path / name).mkdir()
    for name in ("model.pth", "model.onnx"):
        (tmp_path / name).write_bytes(b"")
    program = tmp_path / "bin" / "odtk-ray"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(PROGRAM)} "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def answer(*words):
    """What the program answers to bash when the last of the words is to be completed."""
    variables = {
        "_ODTK_RAY_COMPLETE": "bash_complete",
        "COMP_WORDS": shlex.join(["odtk-ray", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        ["odtk-ray"], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("in",), ["plain,infer", "plain,info"]),
        (("infer", "--fal"), ["plain,--fallback"]),
        (("infer", "model.pth", "--exif", ""), ["plain,ignore", "plain,apply"]),
        (("infer", "mod"), ["file,mod"]),
        (("infer", "model.pth", "--images", "ph"), ["file,ph"]),
        (("infer", "model.pth", "--output", ""), ["file,"]),
        (("export", "model.pth", "mod"), ["file,mod"]),
        (("completion", ""), ["plain,bash", "plain,zsh", "plain,fish"]),
        (("infer", "--with-d"), [""]),  # accepted, and not recommended
    ],
)
def test_answers(folder, words, expected):
    assert answer(*words) == expected


def test_whatever_names_files_is_completed_as_files():
    """By the metavar that says so; a new option of paths must not be forgotten."""
    for command in cli.commands.values():
        for param in command.params:
            if param.metavar in ("FILE", "DIR", "MODEL") or isinstance(param, click.Argument):
                known = isinstance(param.type, click.Path | click.Choice)
                assert known, f"{command.name}: {param.name}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_a_script(shell):
    outcome = CliRunner().invoke(cli, ["completion", shell])
    assert outcome.exit_code == 0
    assert f"_ODTK_RAY_COMPLETE={shell}_complete" in outcome.stdout


BASH = """
eval "$(odtk-ray completion bash)"
COMP_WORDS=(odtk-ray "$@"); COMP_CWORD=$#
compopt() { echo "compopt $1 $2"; }
_odtk_ray_completion odtk-ray "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
complete -p odtk-ray
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("inf",), ["infer", "info"]),
        (("infer", "model.pth", "--images", "ph"), ["compopt -o default", ""]),
    ],
)
def test_bash_itself(folder, words, expected):
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", *words], capture_output=True, text=True, check=True
    )
    *found, bound = done.stdout.splitlines()
    assert (done.stderr, found) == ("", expected)
    assert bound == "complete -o nosort -F _odtk_ray_completion odtk-ray"


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish")
def test_fish_itself(folder):
    script = folder / "home" / ".config" / "fish" / "completions" / "odtk-ray.fish"
    script.parent.mkdir(parents=True)
    script.write_text(CliRunner().invoke(cli, ["completion", "fish"]).stdout, encoding="utf-8")

    def completed(line):
        command = ["fish", "-c", f"complete --do-complete {shlex.quote(line)}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return sorted(line.partition("\t")[0] for line in done.stdout.splitlines())

    assert completed("odtk-ray inf") == ["infer", "info"]
    assert completed("odtk-ray infer mod") == ["model.onnx", "model.pth"]
    assert completed("odtk-ray infer model.pth --images ph") == ["photos/"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_itself(folder):
    """Widgets need a terminal: the script is loaded, and asked in the words that zsh would give."""
    script = """
        autoload -Uz compinit && compinit -D
        eval "$(odtk-ray completion zsh)"
        print ${_comps[odtk-ray]}
        words=(odtk-ray inf) CURRENT=2
        _describe() { print -l ${(P)3} }
        compadd() { print $* }
        _path_files() { print files }
        _odtk_ray_completion
        words=(odtk-ray infer mod) CURRENT=3
        _odtk_ray_completion
    """
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    bound, *found = done.stdout.splitlines()
    assert bound == "_odtk_ray_completion"
    assert [line.partition(":")[0] for line in found] == ["infer", "info", "files"]
