"""The stored state of a run: shards, shard files, journal, run folder; and their merge."""
