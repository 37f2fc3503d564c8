"""A program of a user's own, built as docs/jetson.md says, with stand-ins of CUDA and TensorRT."""

from fakes import ROOT, VALGRIND, Programs, build


def test_a_project_uses_the_library(programs, plan):
    folder = ROOT / "build" / "user-project"
    build(ROOT / "tests" / "cpp" / "user", folder, "-DODTK_FAKES=ON", "-DCMAKE_BUILD_TYPE=Debug")
    printed = Programs(folder, VALGRIND).ok("detect", plan)
    assert [line.rpartition(": ")[2] for line in printed.splitlines()] == ["yes"] * 7, printed
    assert not (folder / "odtk" / "odtk_infer").exists()  # the programs are not the user's
