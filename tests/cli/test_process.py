"""The frame of the process: standard streams that are gone, and signals at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import picture

PROGRAM = [sys.executable, "-m", "odtk_ray"]
FULL = "error: cannot write to standard output: No space left on device\n"
CLOSED = "error: cannot write to standard output: Bad file descriptor\n"


@pytest.fixture
def line(request, checkpoint, tmp_path):
    """A command line that prints, by what it does."""
    return (
        PROGRAM
        + {
            "help": ["--help"],
            "version": ["--version"],
            "info": ["info", str(checkpoint)],
            "completion": ["completion", "bash"],
        }[request.param]
    )


COMMANDS = pytest.mark.parametrize("line", ["help", "version", "info", "completion"], indirect=True)


@COMMANDS
def test_a_full_disk_behind_standard_output_is_said(line):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, FULL)


@COMMANDS
def test_a_closed_standard_output_is_said(line):
    shell = ["sh", "-c", '"$@" >&-', "sh", *line]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, CLOSED)


@COMMANDS
def test_a_reader_that_has_read_enough_is_no_failure(line):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("error", [">&-", ">/dev/full"])
def test_errors_that_nobody_can_read_keep_their_exit_code(error):
    done = subprocess.run(["sh", "-c", f'"$@" 2{error}', "sh", *PROGRAM, "nothing"], check=False)
    assert done.returncode == 2


def test_files_never_get_what_a_closed_stream_was_to_have(tmp_path):
    """The first file that is opened would have the stream's number."""
    code = (
        "from odtk_ray.cli.standard_streams import StandardStreams; StandardStreams()\n"
        "import os; file = open('file', 'w'); os.write(2, b'error'); print('text')\n"
    )
    shell = ["sh", "-c", '"$@" >&- 2>&-', "sh", sys.executable, "-c", code]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(shell, cwd=tmp_path, check=False, env=os.environ | {"PYTHONPATH": path})
    assert (tmp_path / "file").read_text(encoding="utf-8") == ""


# The command line, which is sent a signal as a module begins to be imported. What it raises there
# comes out as an ImportError, as C extensions have it.
AT_IMPORT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), {number})
            except KeyboardInterrupt as error:
                raise ImportError("cannot import a part") from error

sys.meta_path.insert(0, Interrupting())
from odtk_ray.cli.process import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["click", "odtk_ray.api", "torch"])
def test_a_signal_during_imports_stops_with_a_sentence(checkpoint, tmp_path, module, number):
    picture(0, 32, 32).save(tmp_path / "0.png")
    code = AT_IMPORT.format(module=module, number=int(number))
    done = subprocess.run(
        [sys.executable, "-c", code, "infer", str(checkpoint), "--images", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("stopped")
    assert done.stderr.count("\n") == 1


# A command that is asked to stop in a destructor, where exceptions are lost, and then again.
IN_A_DESTRUCTOR = """
import os, signal
from odtk_ray.cli import stop_signals
from odtk_ray.cli.library_words import show_as_ours

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

stop_signals.listen()
show_as_ours()
Dying()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("cleaning")
"""


def test_a_signal_that_is_lost_in_a_destructor_can_be_sent_again():
    code = [sys.executable, "-c", IN_A_DESTRUCTOR]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    assert done.stdout == "cleaning\n"
    assert done.stderr == "warning: it could not be stopped at this moment: ask again\n"


# A signal in the middle of the import system, where a thread holds the lock of all imports.
IN_THE_IMPORT_SYSTEM = """
import importlib, os, signal, sys, threading
from odtk_ray.cli import stop_signals

stop_signals.listen()
code = importlib.__import__.__code__.co_filename

def trace(frame, event, arg):
    if frame.f_code.co_filename == code and frame.f_code.co_name == "_get_module_lock":
        sys.settrace(None)
        os.kill(os.getpid(), signal.SIGTERM)
    return None

sys.settrace(trace)
try:
    import decimal
    while True:
        signal.pause()
except KeyboardInterrupt:
    thread = threading.Thread(target=__import__, args=["fractions"])
    thread.start()
    thread.join(60)
    print("free" if not thread.is_alive() else "locked", "decimal" in sys.modules)
"""


def test_a_signal_within_the_import_system_waits_for_its_end():
    code = [sys.executable, "-c", IN_THE_IMPORT_SYSTEM]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    assert done.stdout == "free True\n"


# Stops as our commands do, and has its standard input tell when the cleaning has ended.
CLEANING = """
import sys, time
from odtk_ray.cli import stop_signals
stop_signals.listen()
try:
    print("working", flush=True)
    while True:
        time.sleep(60)
except KeyboardInterrupt:
    print("cleaning", flush=True)
    sys.stdin.read()
    print("clean", flush=True)
"""


@contextlib.contextmanager
def asked_twice(first, second):
    """The process of it that cleans up after one signal, and has had another one."""
    with subprocess.Popen(
        [sys.executable, "-c", CLEANING], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "working\n"
        process.send_signal(first)
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(second)
        assert process.stderr.readline() == "stopping; once more ends it at once\n"
        yield process


def test_a_second_signal_does_not_disturb_the_cleaning_and_a_third_ends_it():
    with asked_twice(signal.SIGINT, signal.SIGINT) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait() == 1
        assert process.stderr.read() == "stopped\n"
        assert process.stdout.read() == ""


def test_two_signals_leave_the_cleaning_its_time():
    with asked_twice(signal.SIGHUP, signal.SIGTERM) as process:
        process.stdin.close()
        assert process.wait() == 0
        assert process.stdout.read() == "clean\n"


def test_a_signal_that_nohup_ignores_stays_ignored():
    code = CLEANING.replace("import sys", "import os, signal, sys").replace(
        "    while True:\n        time.sleep(60)\n", "    os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    shell = ["nohup", sys.executable, "-c", code]
    done = subprocess.run(
        shell, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert done.stdout == "working\n"
