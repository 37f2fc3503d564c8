"""Builds projects of CMake, and runs the programs of cuda_ops/cpp with stand-ins of a GPU."""

import fcntl
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CPP = ROOT / "cuda_ops" / "cpp"


# Exit code 9 says that it found a mistake.
VALGRIND = "valgrind", "-q", "--error-exitcode=9", "--leak-check=full"


def build(source, folder, *options):
    """Build a CMake project unless it is up to date, in one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    configure = ["cmake", "-G", "Ninja", "-S", source, "-B", folder, *options]
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (configure, ["cmake", "--build", folder]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def build_programs(tensorrt):
    """Build them against this major version; return their folder."""
    folder = ROOT / "build" / f"programs-{tensorrt}"
    flags = f"-DCMAKE_CXX_FLAGS=-Werror -DFAKE_TENSORRT_MAJOR={tensorrt}"
    build(CPP, folder, "-DODTK_FAKES=ON", "-DCMAKE_BUILD_TYPE=Debug", flags)
    return folder


class Programs:
    """Runs the programs of a folder.

    Attributes:
        folder: where they are.
        inside: a command that they run in, such as valgrind.
    """

    def __init__(self, folder, inside=()):
        self.folder, self.inside = folder, [*inside]

    def command(self, name, *arguments):
        """The command line of a program."""
        return [*self.inside, os.fspath(self.folder / name), *map(str, arguments)]

    def run(self, name, *arguments, fakes=None, **options):
        """The process when it has ended; `fakes` are environment variables of the stand-ins."""
        return subprocess.run(
            self.command(name, *arguments),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | (fakes or {}),
            **options,
        )

    def ok(self, name, *arguments, **options):
        """What a run printed that succeeds."""
        done = self.run(name, *arguments, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, code, name, *arguments, **options):
        """What a run said that ends with this exit code."""
        done = self.run(name, *arguments, **options)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stderr
