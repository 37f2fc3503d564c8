"""Shards in Ray's object store: a shard is a slice of one block of a Ray Data table.

The table holds paths and sizes, never pixels.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from odtk_ray.records import WORK_COLUMNS
from odtk_ray.shards.cut_shards import Shard

if TYPE_CHECKING:
    from ray import ObjectRef


# 20,000 blocks took 67 s and 1 GB on the driver, 200 blocks 1.4 s. But a node that runs one shard
# fetches all of its block: blocks of many shards would go to every node.
_BLOCKS, _MOST_BLOCKS, _SHARDS_A_BLOCK = 256, 2048, 8


@dataclass(frozen=True)
class ShardRef:
    """The position of a shard's rows in the object store.

    Attributes:
        block: reference to a table of WORK_COLUMNS.
        offset: first row of the shard in that table.
        length: number of rows.
    """

    block: ObjectRef[pa.Table]
    offset: int
    length: int


def store_shards(records: pa.Table, shards: list[Shard]) -> dict[int, ShardRef]:
    """Put the shards' rows into the object store as a Ray Data table of at most 2,048 blocks.

    Returns:
        for each shard's number where its rows lie.
    """
    import ray.data

    if not shards:
        return {}
    work = records.select(list(WORK_COLUMNS)).combine_chunks()
    count = min(max(_BLOCKS, len(shards) // _SHARDS_A_BLOCK), _MOST_BLOCKS, len(shards))
    bounds = np.array_split(np.arange(len(shards)), count)
    groups = [[shards[i] for i in part] for part in bounds]
    tables = [work.take(np.concatenate([s.rows for s in group])) for group in groups]
    # Workers may have all cores: Ray Data warns of that, and runs nothing for blocks that exist.
    logging.getLogger("ray.data.dataset").setLevel(logging.ERROR)
    # from_arrow would run tasks for the blocks' metadata: seconds, and cores that may be taken.
    blocks = ray.data.from_blocks(tables).to_arrow_refs()
    if len(blocks) != len(groups):
        raise RuntimeError(f"Ray Data made {len(blocks)} blocks of {len(groups)} tables")
    refs: dict[int, ShardRef] = {}
    for block, group in zip(blocks, groups, strict=True):
        offset = 0
        for shard in group:
            refs[shard.number] = ShardRef(block, offset, len(shard))
            offset += len(shard)
    return refs
