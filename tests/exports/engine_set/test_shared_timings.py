"""Timings that builds of one GPU and TensorRT share, merged without locks.

In place of TensorRT's caches: lines, of which those of another driver cannot be merged.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest
from synthetic import ABOUT

from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.exports.engine_set.shared_timings import keep_timings, read_timings

A10G = Sidecar(
    model=replace(ABOUT, sha256="cd" * 32), batches=(1, 4, 8), tensorrt="tensorrt 11.4.0",
    gpu=("NVIDIA A10G", "8.6"), capabilities=(),
)  # fmt: skip


def merge(contents):
    taken = [b"foreign" not in content for content in contents]
    parts = [content for content, fits in zip(contents, taken, strict=True) if fits]
    return b"\n".join(sorted({line for part in parts for line in part.split(b"\n")})), taken


class Build:
    """A build that measures one layer."""

    def __init__(self, folder, layer, about=A10G):
        self.folder, self.layer, self.about = str(folder), layer, about

    def begin(self):
        self.known, self.merged = read_timings(self.folder, self.about, merge)

    def end(self):
        content, _ = merge([part for part in (self.known, self.layer) if part])
        keep_timings(self.folder, self.about, content, self.merged, "tag")


def run(*builds):
    for build in builds:
        build.begin()
        build.end()


def known(folder, about=A10G):
    return set(read_timings(str(folder), about, merge)[0].split(b"\n")) - {b""}


def test_one_cache_serves_all_sizes_and_precisions(tmp_path):
    assert read_timings(str(tmp_path), A10G, merge) == (b"", [])
    small = replace(A10G, model=replace(A10G.model, size=(32, 32), precision="int8"))
    run(Build(tmp_path, b"a"), Build(tmp_path, b"b", small))
    assert known(tmp_path) == known(tmp_path, small) == {b"a", b"b"}
    (name,) = os.listdir(tmp_path)
    assert name.startswith("NVIDIA-A10G_sm86_tensorrt-11.4.0_")


def test_other_gpus_and_versions_have_their_own(tmp_path):
    others = [
        replace(A10G, gpu=("NVIDIA A10", "8.6")),
        replace(A10G, tensorrt="tensorrt 11.4.0.7"),
        replace(A10G, tensorrt="tensorrt 11.4"),
    ]
    run(*(Build(tmp_path, str(i).encode(), about) for i, about in enumerate([A10G, *others])))
    assert [known(tmp_path, about) for about in (A10G, *others)] == [{b"0"}, {b"1"}, {b"2"}, {b"3"}]
    assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("AABBCC"))))
def test_nothing_is_lost_whatever_the_order(tmp_path, order):
    """Each build begins at its first letter, and ends at its second."""
    run(Build(tmp_path, b"before"))
    builds = {name: Build(tmp_path, name.encode()) for name in "ABC"}
    begun = set()
    for name in order:
        build = builds[name]
        build.end() if name in begun else build.begin()
        begun.add(name)
    assert known(tmp_path) == {b"before", b"A", b"B", b"C"}
    run(Build(tmp_path, b"after"))
    assert len(os.listdir(tmp_path)) == 1
    assert known(tmp_path) == {b"before", b"A", b"B", b"C", b"after"}


def test_caches_of_older_sets_are_merged_and_those_of_another_driver_stay(tmp_path):
    machine = "NVIDIA-A10G_sm86_tensorrt-11.4.0"
    (tmp_path / f"{machine}_fp16_64x96.timing").write_bytes(b"old")
    (tmp_path / f"{machine}_0badf00d.timing").write_bytes(b"foreign")
    (tmp_path / f"{machine}_fp16_64x96.plan").write_bytes(b"plan")
    run(Build(tmp_path, b"new"))
    assert known(tmp_path) == {b"old", b"new"}
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 3
    assert f"{machine}_0badf00d.timing" in left
    assert f"{machine}_fp16_64x96.plan" in left


def test_what_another_build_removes_meanwhile_is_no_error(tmp_path):
    run(Build(tmp_path, b"a"))
    late = Build(tmp_path, b"b")
    late.begin()
    for name in os.listdir(tmp_path):
        os.unlink(tmp_path / name)
    late.end()
    assert known(tmp_path) == {b"a", b"b"}
