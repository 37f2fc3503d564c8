"""What comes from files never reaches a terminal as it is, whatever prints it."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from effort import examples
from huge_headers import small_picture
from hypothesis import given
from hypothesis import strategies as st
from pseudo_terminal import on_terminal
from synthetic import ABOUT

from odtk_ray import api
from odtk_ray.artifacts.describe_exported import describe_exported
from odtk_ray.cli import colours
from odtk_ray.cli.error_lines import print_failure, print_traceback
from odtk_ray.cli.printable import cut, message, printable, shell_line
from odtk_ray.cli.program import cli
from odtk_ray.cli.screen import Console
from odtk_ray.errors import OdtkError

CLI = Path(colours.__file__).parent
EVIL = "a\x1b[2J\x1b]0;title\x07\nb\r\x08\x7f\x9b31m\u202ec\u2066\u200b\u2028d\udcff\ufeff"
ESCAPED = r"a\x1b[2J\x1b]0;title\x07\nb\r\x08\x7f\x9b31m\u202ec\u2066\u200b\u2028d\udcff\ufeff"
# Of single words, of words, and of words with every mark that divides names.
LONG = ("x" * 5000, "x y " * 1250, "a, b: c/" * 625)


def obeyed(text):
    """The characters of what was printed that a terminal obeys, without the ends of its lines."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {c for c in text if unicodedata.category(c) in kinds and c not in "\n\u200c\u200d"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        (EVIL, ESCAPED),
        ("können wir 日本語\u3000の 👩\u200d👩 می\u200cخواهم\u00a0!", None),  # what people write
        ("C:\\photos\\new", None),
        ("x" * 255, None),
        ("x" * 5000 + "/" + "y" * 100 + ".jpg", "x" * 160 + "..." + "x" * 60 + "/" + "y" * 100
         + ".jpg"),
        ("/".join(["folder"] * 200), None),  # paths keep their folders
        ("cannot read " + "x y " * 200, "cannot read " + "x y " * 72 + "..." + "x y " * 15),
    ],
)  # fmt: skip
def test_what_is_shown(text, shown):
    assert printable(text) == (text if shown is None else shown)


@given(st.text(st.characters(), max_size=40) | st.sampled_from(LONG), st.text(max_size=200))
@examples(200)
def test_no_text_reaches_a_terminal_as_it_is(first, second):
    for shown in (printable(first + second), message(first + " " + second)):
        assert not obeyed(shown)
        assert "\n" not in shown
        shown.encode()
    assert printable(printable(first + second)) == printable(first + second)
    assert len(message(first + second)) <= 2000
    assert len(cut(first, 60)) <= 60


@pytest.mark.parametrize(
    "words", [[], ["a b", "", "$HOME"], ["a\nb'c\\d", "\x1b0f\u202eü", "x\udcffy"]]
)
def test_commands_stand_for_their_words_in_a_shell(words):
    line = shell_line(words)
    assert not obeyed(line)
    assert printable(line) == line
    command = ["bash", "-c", f"printf '%s\\0' {line}"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    assert os.fsdecode(listed).split("\0")[:-1] == (words or [""])


# --------------------------------------------------------------------------------- every way out


def printed(capsys):
    out, err = capsys.readouterr()
    assert not obeyed(out + err)
    return out + err


@pytest.mark.parametrize("long", LONG)
def test_everything_that_prints(capsys, monkeypatch, long):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    error = OdtkError(f"cannot use {EVIL}", f"{EVIL}: {long}", f"{EVIL} {long}")
    console = Console()
    for show in (
        lambda: print_failure(error),
        lambda: print_failure(OSError(5, EVIL + long, EVIL + long)),
        lambda: print_failure(RuntimeError(EVIL + long)),
        lambda: print_failure(ModuleNotFoundError(name=EVIL + long)),
        lambda: console.warn(EVIL + long),
        lambda: console.note(EVIL + long),
    ):
        show()
        text = printed(capsys)
        assert r"a\x1b[2J\x1b]0;title\x07" in text
        assert text.count("\n") <= 2
        assert all(len(line) < 2100 for line in text.splitlines())
    print_traceback(error)
    assert "test_printable" not in printed(capsys).splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["infer", EVIL],
        [EVIL, "--images", EVIL],
        ["infer", "model.pth", f"--{EVIL}"],
        ["infer", "model.pth", "--batch", EVIL],
        ["infer", "model.pth", "--exif", EVIL],
        ["infer", "model.pth", EVIL, EVIL],
        ["infer", "model.pth", "--images", EVIL + "x" * 5000, "--debug"],
        ["info", EVIL + ".onnx"],
        ["info", "x" * 5000],
        ["doctor", "--annotations", EVIL],
        ["convert", EVIL, EVIL + ".json"],
        ["export", EVIL, EVIL + ".onnx"],
    ],
)
def test_the_command_line_is_shown_so_too(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    outcome = CliRunner().invoke(cli, [a.replace("\0", "") for a in arguments])
    assert outcome.exit_code in (1, 2)
    assert isinstance(outcome.exception, SystemExit)
    assert outcome.stderr.startswith(("error: ", "Traceback"))
    assert not obeyed(outcome.stdout + outcome.stderr)


def test_metadata_of_models(monkeypatch):
    model = replace(ABOUT, class_names=(EVIL, "x" * 5000), backbones=(EVIL,), version=EVIL)
    monkeypatch.setattr(api, "info", lambda *_, **__: describe_exported(EVIL, model))
    outcome = CliRunner().invoke(cli, ["info", "model.onnx"])
    assert outcome.exit_code == 0
    assert not obeyed(outcome.stdout)
    assert ESCAPED in outcome.stdout
    assert max(map(len, outcome.stdout.splitlines())) < 400


def test_doctor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = {
        "images": [{"id": 1, "file_name": EVIL[:2], "width": 9, "height": 9}],
        "annotations": [{"id": EVIL, "image_id": 1, "category_id": EVIL, "bbox": [0, 0, -1, 2]}],
        "categories": [{"id": EVIL, "name": EVIL}, {"id": 2, "name": "x" * 5000}],
    }
    (tmp_path / "evil\x1b[2J.json").write_text(json.dumps(document), encoding="utf-8")
    outcome = CliRunner().invoke(cli, ["doctor", "--annotations", "evil\x1b[2J.json"])
    assert outcome.exit_code == 1
    assert outcome.stdout.startswith(r"evil\x1b[2J.json: 1 image")
    assert not obeyed(outcome.stdout + outcome.stderr)


def test_a_run_keeps_the_names_in_its_files(runs, checkpoint, tmp_path, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    names = ["evil\x1b[2J\u202e\nname.png", "bad\x1b]0;x\x07.png"]
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / names[0]).write_bytes(small_picture())
    (folder / names[1]).write_bytes(b"junk")
    categories = [{"id": i, "name": f"{i}{EVIL[:-2]}{'x' * 5000}"} for i in range(3)]
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 0, "bbox": [0, 0, 20, 20],
                         "area": 400, "iscrowd": 0}],
        "categories": categories,
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(document), encoding="utf-8")
    given = ["infer", checkpoint, "--images", folder, "--annotations", tmp_path / "truth.json"]
    given += ["--resize", "64", "--threads-per-worker", "1", "--output", tmp_path / "out.json"]
    outcome = CliRunner().invoke(cli, list(map(str, given)))
    assert outcome.exit_code == 3, outcome.stderr
    assert not obeyed(outcome.stdout + outcome.stderr)
    assert r"first bad\x1b]0;x\x07.png: not an image" in outcome.stderr
    assert max(map(len, outcome.stdout.splitlines())) < 400
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in written["images"]] == names
    assert written["categories"] == categories
    failed = json.loads((tmp_path / "out.failures.jsonl").read_text(encoding="utf-8"))
    assert failed["file_name"] == names[1]


def test_our_colours_stay_on_a_terminal():
    code, _, seen = on_terminal("infer", "model.pth", "--conf\x1b[2J", "0.3")
    assert code == 2
    assert seen.startswith("\x1b[31m\x1b[1merror:\x1b[0m there is no option --conf\\x1b[2J\n")


def test_a_terminal_without_unicode_is_no_failure(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    colours.echo("für 日本")
    assert stream.buffer.getvalue() == rb"f\xfcr \u65e5\u672c" + b"\n"


def test_what_libraries_say_through_python():
    said = f"""
import logging, sys, warnings
from odtk_ray.cli.process import main
from odtk_ray.cli.library_words import show_as_ours
show_as_ours()
warnings.warn({EVIL!r})
logging.getLogger("library").warning("%s\\nsecond line", {EVIL!r})
class Odd:
    def __del__(self):
        raise ValueError({EVIL!r})
Odd()
sys.argv = ["odtk-ray", "--version"]
main()
"""
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, check=True)
    text = done.stderr.decode()
    assert not obeyed(text)
    assert [line.partition(": ")[0] for line in text.splitlines()] == ["warning"] * 3
    assert "second line" in text.splitlines()[1]
    assert "(ignored)" in text.splitlines()[2]
    assert done.stdout.startswith(b"odtk-ray, version")


# ------------------------------------------------------------------------------------- one place

# Help, shells' scripts, JSON in ASCII.
OWN = {"command_group.py", "completion.py", "doctor.py", "program.py", "status.py"}


def calls(tree):
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_one_place_prints():
    """Nothing else writes to the standard streams, or prints text as it is."""
    printing = ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write")
    for path in CLI.parent.rglob("*.py"):
        found = set(calls(ast.parse(path.read_text(encoding="utf-8"))))
        if path != CLI / "colours.py":
            assert not found & set(printing), path
        if path.name not in OWN:
            assert "echo_own" not in found, path
