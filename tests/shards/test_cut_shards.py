from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.cluster.shard_blocks import store_shards
from odtk_ray.records import RECORD_SCHEMA
from odtk_ray.settings import Preprocessing
from odtk_ray.shards.cut_shards import (
    Shard,
    cut_shards,
    network_shapes,
    shard_size,
)

PREP = Preprocessing()
SIZES = [(640, 480), (480, 640), (612, 612), (0, 0), (20000, 5), (333, 500)]


def records(sizes):
    widths, heights = zip(*sizes, strict=True) if sizes else ((), ())
    return pa.table(
        {
            "index": pa.array(range(len(sizes)), pa.int64()),
            "path": [f"/data/{i}.jpg" for i in range(len(sizes))],
            "width": pa.array(widths, pa.int32()),
            "height": pa.array(heights, pa.int32()),
        }
    )


@pytest.mark.parametrize(
    ("images", "launch", "expected"),
    [
        (0, 1, 32),  # never under 32
        (4096, 8, 32),  # 4096 / 128 = 32
        (4097, 8, 64),  # 32.01 images are rounded up to a multiple of 32
        (5000, 8, 64),  # 39.06
        (1_000_000, 8, 512),  # 7812 is limited to 512
        (10_240_000, 8, 512),  # 20,000 shards, which is the most
        (100_000_000, 8, 5000),
        (5000, 24, 72),  # 64 is no multiple of 24: the next one is 72
    ],
)
def test_shard_size(images, launch, expected):
    assert shard_size(images, launch) == expected


def test_a_shard_has_the_launches_asked_for():
    sizes = [(640, 480)] * 300 + [(480, 640)] * 20
    lengths = [len(s) for s in cut_shards(records(sizes), PREP, 32, 4)]
    assert lengths == [128, 128, 32, 32]  # 288 in whole launches; 12 and 20 are left


def test_no_records():
    assert cut_shards(records([]), PREP, 4) == []


@examples(60)
@given(st.lists(st.sampled_from(SIZES), max_size=300), st.integers(1, 12))
def test_every_record_is_in_one_shard(sizes, launch):
    shards = cut_shards(records(sizes), PREP, launch)
    rows = np.concatenate([s.rows for s in shards]) if shards else np.empty(0)
    assert sorted(rows.tolist()) == list(range(len(sizes)))
    assert [s.number for s in shards] == list(range(len(shards)))
    assert all(0 < len(s) <= shard_size(len(sizes), launch) for s in shards)


@examples(60)
@given(st.lists(st.sampled_from(SIZES[:3] + SIZES[4:]), max_size=300), st.integers(1, 40))
def test_no_size_runs_more_launches_than_it_needs(sizes, launch):
    table = records(sizes)
    launches = 0
    for shard in cut_shards(table, PREP, launch):
        parts = network_shapes(table.take(shard.rows), PREP)
        launches += sum(-(-images // launch) for images in parts.values())
    wanted = network_shapes(table, PREP).values() if sizes else []
    assert launches == sum(-(-images // launch) for images in wanted)


def test_shards_of_one_size_run_full_launches_in_record_order():
    sizes = [(640, 480) if i % 3 else (480, 640) for i in range(200)]
    shards = cut_shards(records(sizes), PREP, 8)
    # 133 landscape images make 16 launches of 8 (32 a shard), 67 portrait ones make 8 launches;
    # the remaining 5 and 3 share one shard.
    assert sorted(len(s) for s in shards) == [8, 32, 32, 32, 32, 32, 32]
    for shard in shards[:-1]:
        assert len({sizes[i] for i in shard.rows}) == 1
        assert np.all(np.diff(shard.rows) > 0)
    assert {sizes[i] for i in shards[-1].rows} == {(640, 480), (480, 640)}


@examples(60)
@given(st.lists(st.sampled_from(SIZES), min_size=1, max_size=300), st.integers(1, 12))
def test_shards_follow_the_records(sizes, launch):
    first = [int(s.rows.min()) for s in cut_shards(records(sizes), PREP, launch)]
    assert first == sorted(first)


def test_network_shapes_are_counted_largest_first():
    sizes = [(612, 612)] * 3 + [(480, 640)] * 2 + [(640, 480)] * 5 + [(0, 0), (20000, 5)]
    # 612x612 gives 800x800; the other two 1066x800, which are equally large when padded.
    expected = [((896, 1152), 5), ((1152, 896), 2), ((896, 896), 3)]
    assert list(network_shapes(records(sizes), PREP).items()) == expected
    assert network_shapes(records([]), PREP) == {}


@pytest.mark.cluster
def test_published_slices_hold_the_shards(ray_session):
    import ray

    rng = np.random.default_rng(0)
    table = records([SIZES[i] for i in rng.integers(0, len(SIZES), 1000)])
    shards = cut_shards(table, PREP, 4)
    refs = store_shards(table, shards)
    for shard in shards:
        ref = refs[shard.number]
        rows = ray.get(ref.block).slice(ref.offset, ref.length)
        assert rows["index"].to_pylist() == shard.rows.tolist()
        assert rows.column_names == ["index", "path", "width", "height"]


@pytest.mark.cluster
def test_the_number_of_blocks(ray_session):
    table = records([(640, 480)] * 10_000)
    shards = cut_shards(table, PREP, 1)
    assert len(shards) == 105  # 10000 / 128 = 78.1, so 96 images a shard
    assert len({ref.block for ref in store_shards(table, shards).values()}) == 105
    tiny = [Shard(i, np.array([i])) for i in range(3000)]
    assert len({ref.block for ref in store_shards(table, tiny[:1000]).values()}) == 256
    assert len({ref.block for ref in store_shards(table, tiny).values()}) == 375  # 3000 / 8


@pytest.mark.long
@pytest.mark.cluster
def test_more_than_2_gib_of_paths(ray_session):
    """2,100 of a MiB each, which a column of `string` cannot hold in one piece."""
    import ray

    paths = [f"/data/{i:02d}/{'a' * 2**20}.jpg" for i in range(50)]
    columns = [range(50), map(str, range(50)), paths, paths, [640] * 50, [480] * 50, ["{}"] * 50]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, RECORD_SCHEMA, strict=True)]
    table = pa.concat_tables([pa.Table.from_arrays(arrays, schema=RECORD_SCHEMA)] * 42)
    ref = store_shards(table, [Shard(0, np.array([0, 2099]))])[0]
    assert ray.get(ref.block)["path"].to_pylist() == [paths[0], paths[49]]
