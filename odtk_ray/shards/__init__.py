"""What is stored of a run: records cut into shards, shard files, journal, run folder, merge."""
