"""Plants each fault of `table.py` in a copy of the tree, and sees that the tests notice it.

    python tests/seeded_faults/run.py                  all of them, two at a time
    python tests/seeded_faults/run.py unsafe-pickle    some of them
    python tests/seeded_faults/run.py --baseline       the same tests without any fault: all pass

A fault is caught when a test fails. When pytest ends in another way, with an import that breaks, a
fixture that raises or too late, no test has looked at the fault, and the table is to be corrected.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from table import FAULTS, ROOT, Fault, changed

COPIED = ("odtk_ray", "cuda_ops", "tests", "jobs", "docs", ".ci")
PASSED, FAILED = 0, 1  # pytest's exit codes; any other one is an error of the list


@dataclass(frozen=True)
class Outcome:
    """What became of one fault.

    Attributes:
        name: the fault's.
        verdict: `caught`, `missed`, or `error` when no test has looked at it.
        detail: the test that failed, or what else happened.
        seconds: that it took.
        log: pytest's output.
    """

    name: str
    verdict: str
    detail: str
    seconds: float
    log: str


def main() -> int:
    arguments = parse()
    started = time.monotonic()
    if arguments.baseline:
        outcome = run_tests("baseline", None, tests_of(arguments.faults), arguments.timeout)
        print(outcome.log)
        return PASSED if outcome.verdict == "missed" else FAILED
    with ThreadPoolExecutor(arguments.jobs) as pool:
        try:
            outcomes = list(pool.map(lambda fault: try_fault(fault, arguments), arguments.faults))
        except BaseException:  # such as Ctrl-C, which pytest gets as well
            pool.shutdown(cancel_futures=True)
            raise
    for outcome in outcomes:
        if outcome.verdict != "caught":
            print(f"\n{'=' * 20} {outcome.name}: {outcome.verdict}\n{outcome.log}")
    width = max(len(outcome.name) for outcome in outcomes)
    print(f"\n{'fault':<{width}}  verdict  seconds  by")
    for outcome in outcomes:
        print(f"{outcome.name:<{width}}  {outcome.verdict:<7}  {outcome.seconds:7.1f}  "
              f"{outcome.detail}")  # fmt: skip
    caught = sum(outcome.verdict == "caught" for outcome in outcomes)
    print(f"{caught} of {len(outcomes)} faults caught in {time.monotonic() - started:.0f} s")
    return PASSED if caught == len(outcomes) else FAILED


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", metavar="NAME", help="faults to plant; default: all")
    parser.add_argument("--baseline", action="store_true", help="run the tests without a fault")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time (default: 2)")
    parser.add_argument(
        "--timeout", type=float, default=600, help="seconds for the tests of a fault (default: 600)"
    )
    arguments = parser.parse_args()
    known = {fault.name: fault for fault in FAULTS}
    if unknown := set(arguments.faults) - known.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    arguments.faults = [known[name] for name in arguments.faults or known]
    return arguments


def tests_of(faults: list[Fault]) -> list[str]:
    return list(dict.fromkeys(test for fault in faults for test in fault.tests))


def try_fault(fault: Fault, arguments: argparse.Namespace) -> Outcome:
    outcome = run_tests(fault.name, fault, list(fault.tests), arguments.timeout)
    print(f"{outcome.name}: {outcome.verdict} ({outcome.seconds:.0f} s)", flush=True)
    return outcome


def run_tests(name: str, fault: Fault | None, tests: list[str], timeout: float) -> Outcome:
    """Runs tests in a copy of the tree, which has the fault if there is one."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="odtk-fault-") as folder:
        tree = Path(folder) / "tree"
        copy_tree(tree)
        if fault is not None:
            (tree / fault.file).write_text(changed(fault), encoding="utf-8")
        stop = [] if fault is None else ["-x"]
        arguments = [*stop, f"--basetemp={folder}/tests", *tests]
        code = run_pytest(tree, arguments, Path(folder) / "log", timeout)
        log = (Path(folder) / "log").read_text(encoding="utf-8", errors="replace")
    verdict, detail = judge(code, log)
    return Outcome(name, verdict, detail, time.monotonic() - started, log)


def copy_tree(tree: Path) -> None:
    """All that the tests read; this includes the files beside the packages, such as README.md."""
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, tree)
    for folder in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)


def run_pytest(tree: Path, arguments: list[str], log: Path, timeout: float) -> int | None:
    """Exit code; None when it took too long.

    The copy comes first on the path of pytest and of what it starts; tests/sessions.py gives Ray's
    workers the tree that it lies in.
    """
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rfE", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree), "RAY_USAGE_STATS_ENABLED": "0"}
    with log.open("wb") as output:  # no pipe, which Ray's processes could keep open
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()


def judge(code: int | None, log: str) -> tuple[str, str]:
    """The verdict, and the test that failed or what else happened."""
    if code is None:
        return "error", "the tests took too long"
    counts = re.findall(r"^\d+ \w+.* in [\d.]+s.*$", log, re.MULTILINE)
    said = counts[-1] if counts else "no test ran"
    failed = re.search(r"^FAILED (.*?)(?: - .*)?$", log, re.MULTILINE)
    if code == FAILED and failed:
        return "caught", failed[1]
    return ("missed", said) if code == PASSED else ("error", f"pytest exited with {code}: {said}")


if __name__ == "__main__":
    sys.exit(main())
