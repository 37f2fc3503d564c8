"""Every node of a cluster is asked, and what differs there is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from odtk_ray.stack.cluster_nodes import check_nodes
from odtk_ray.stack.finding import Level
from odtk_ray.stack.prober import ProbeError, Prober

pytestmark = pytest.mark.cluster


def test_nodes_are_compared_with_this_machine(cluster, tmp_path):
    """A node with another Pillow, and one without odtk-ray's packages in its way."""
    about = tmp_path / "other" / "pillow-1.2.3.dist-info"
    about.mkdir(parents=True)
    text = "Metadata-Version: 2.1\nName: pillow\nVersion: 1.2.3\n"
    (about / "METADATA").write_text(text, encoding="utf-8")
    root = Path(__file__).resolve().parents[2]
    cluster.add(gpus=0)
    cluster.add(gpus=0, PYTHONPATH=os.pathsep.join([str(about.parent), str(root)]))
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.touch()
    before = set(tmp_path.iterdir())
    with Prober() as prober:
        found = list(check_nodes(prober, cluster.address, [str(there), str(gone)], str(tmp_path)))
    assert set(tmp_path.iterdir()) == before
    head, *rows, shared = found
    assert head.text.endswith(": 3 nodes")
    assert (shared.level, shared.text) == (Level.OK, f"every node sees {tmp_path}")
    lost = [row for row in rows if row.text == f"there is no {gone}"]
    assert len(lost) == 3
    assert all(row.level is Level.PROBLEM for row in lost)
    odd = [row for row in rows if "pillow 1.2.3, here " in row.text]
    assert [row.level for row in odd] == [Level.PROBLEM]
    same = [row for row in rows if row.text.startswith("the same versions; ")]
    assert len(same) == 2
    assert str(there) not in "".join(row.text for row in found)


def test_a_folder_that_cannot_be_written(cluster, tmp_path):
    missing = tmp_path / "missing"
    with Prober() as prober:
        *_, asked = check_nodes(prober, cluster.address, [], str(missing))
    assert asked.level is Level.PROBLEM
    assert "cannot be written: No such file" in asked.text


def test_a_cluster_that_does_not_answer(tmp_path):
    with Prober() as prober, pytest.raises(ProbeError, match=r"no host of this name|nothing"):
        list(check_nodes(prober, "nowhere.invalid:6379", [], str(tmp_path)))
