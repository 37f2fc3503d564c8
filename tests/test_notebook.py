"""docs/python.ipynb runs, and its outputs are those that are stored."""

import copy
import importlib.util
import subprocess
import sys

from documents import ROOT

SCRIPT = ROOT / ".ci" / "notebook.py"


def test_all_cells_run_and_give_what_is_stored():
    """If they do not: `python .ci/notebook.py --write`."""
    done = subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_other_outputs_are_noticed():
    spec = importlib.util.spec_from_file_location("notebook", SCRIPT)
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    stored = notebook.run_cell("print('12 trees, best 0.811')\n3 / 4", {}, 1)
    other = copy.deepcopy(stored)
    other[0]["text"] = ["12 trees, best 0.812\n"]  # on another CPU
    assert notebook.alike(stored, other)
    for text in ("12 trees, best 0.911\n", "13 trees, best 0.811\n", "12 trees, best\n"):
        other[0]["text"] = [text]
        assert not notebook.alike(stored, other)
    assert not notebook.alike(stored, stored[:1])
