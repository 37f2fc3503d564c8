"""The code of cuda_ops/cpp as programs: its host code for two kinds of machine."""

import contextlib
import os
import subprocess

import pytest
from fakes import CPP, ROOT, VALGRIND, Programs, build, build_programs

# How the program is built and run: for this machine with valgrind, and for Jetsons, where `char`
# has no sign.
MACHINES = {
    "x86_64": ([], VALGRIND),
    "aarch64": (
        [
            "-DCMAKE_SYSTEM_NAME=Linux",
            "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
            "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc",
            "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
            "-DCMAKE_EXE_LINKER_FLAGS=-static-libstdc++ -static-libgcc",
            "-DCMAKE_CXX_FLAGS=-Werror -DODTK_WITHOUT_TO_CHARS",  # JetPack 5 has none
        ],
        ("qemu-aarch64-static",),
    ),
}


class Units:
    """Runs the units in tests/cpp/units.

    Attributes:
        machine: `x86_64` or `aarch64`.
        command: the program and what it runs in.
    """

    def __init__(self, machine, command):
        self.machine, self.command = machine, command

    def run(self, unit, *arguments, **options):
        """The process when it has ended; output and errors are bytes."""
        command = [*self.command, unit, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False, **options)

    def __call__(self, unit, *arguments, **options):
        """The output of a run that succeeds."""
        done = self.run(unit, *arguments, **options)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    @contextlib.contextmanager
    def answers(self, unit, *arguments):
        """A function that has a unit answer one text at a time; both are bytes.

        It raises ValueError with the text of an exception. Starting the program takes a second, so
        that this is the way to ask much.
        """
        command = [*self.command, unit, *map(str, arguments)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

            def ask(text):
                process.stdin.write(text.hex().encode() + b"\n")
                process.stdin.flush()
                kind, _, answer = process.stdout.readline().decode().strip().partition(" ")
                if kind == "error":
                    raise ValueError(bytes.fromhex(answer).decode())
                assert kind == "answer", "the program has ended"
                return bytes.fromhex(answer)

            yield ask
            process.stdin.close()
            assert process.wait() == 0

    def error(self, unit, *arguments, **options):
        """The text of the exception that ends a run."""
        done = self.run(unit, *arguments, **options)
        assert done.returncode == 1, (done.returncode, done.stderr)
        return done.stderr.decode()


def build_units(machine):
    """Build the program unless it is up to date; return its path."""
    folder = ROOT / "build" / f"units-{machine}"
    flags = ["-DODTK_UNITS=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS=-Werror"]
    build(CPP, folder, *flags, *MACHINES[machine][0])
    return folder / "odtk_units"


@pytest.fixture(scope="session", params=MACHINES)
def units(request):
    """The units, built for both kinds of machine."""
    machine = request.param
    return Units(machine, [*MACHINES[machine][1], os.fspath(build_units(machine))])


@pytest.fixture(scope="session")
def programs():
    """The programs, with a stand-in of TensorRT 8.5."""
    return Programs(build_programs(8))


@pytest.fixture(scope="session")
def plan(programs, graph, tmp_path_factory):
    """A plan of axis-aligned boxes, for batches of 1 to 4, tuned for 2."""
    path = tmp_path_factory.mktemp("plan") / "model.plan"
    programs.ok("odtk_build", graph, path, "--batches", 1, 2, 4)
    return path


def pytest_runtest_setup(item):
    if not item.config.getoption("--cpp"):
        pytest.skip("C++: make test-cpp")
